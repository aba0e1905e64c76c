package guest

import (
	"encoding/json"
	"slices"
	"strings"
)

// HTTPRequest is a request on a path that the process bound.
type HTTPRequest struct {
	IncomingHTTPRequest
	Body []byte

	claims *string
}

// Param is a parameter of the path, such as room of /rooms/:room; empty if there is none.
func (r *HTTPRequest) Param(name string) string { return valueOf(r.URLParams, name) }

// Query is a parameter of the query; empty if there is none.
func (r *HTTPRequest) Query(name string) string { return valueOf(r.QueryParams, name) }

// Header is a header by its name in any case; empty if there is none.
func (r *HTTPRequest) Header(name string) string {
	for _, pair := range r.Headers {
		if strings.EqualFold(pair.Name, name) {
			return pair.Value
		}
	}
	return ""
}

// Claims reads the custom claims of the token that came with the request, on an authenticated path, into what value
// points to. It returns whether there are any.
func (r *HTTPRequest) Claims(value any) (bool, error) { return claims(r.claims, value) }

// JSON reads the body into what value points to.
func (r *HTTPRequest) JSON(value any) error { return json.Unmarshal(r.Body, value) }

// HTTPResponse is what a process answers. Status 0 is 200, an empty MIME type is text/plain.
type HTTPResponse struct {
	Status  uint16
	Headers []Pair
	MIME    string
	Body    []byte
}

// TextResponse answers with text.
func TextResponse(status uint16, text string) HTTPResponse {
	return HTTPResponse{Status: status, Body: []byte(text)}
}

// JSONResponse answers with a value.
func JSONResponse(status uint16, value any) HTTPResponse {
	data, err := json.Marshal(value)
	if err != nil {
		Log(VerbosityError, "a response was not sent: "+err.Error())
		return TextResponse(500, "the process failed to answer\n")
	}
	return HTTPResponse{Status: status, MIME: "application/json", Body: data}
}

// HTTPHandler answers a request.
type HTTPHandler func(*HTTPRequest) HTTPResponse

type routes struct {
	binding HTTPBinding
	methods map[string]HTTPHandler
}

var byPath = map[string]*routes{}

// Route has a handler answer the requests of a method on a path, such as /rooms/:room. HEAD is answered as GET,
// other methods with 405. Call it before or in OnStart; the first route of a path says who may use it.
func Route(method, path string, binding HTTPBinding, handler HTTPHandler) {
	if byPath[path] == nil {
		byPath[path] = &routes{binding, map[string]HTTPHandler{}}
	}
	byPath[path].methods[method] = handler
}

func bindRoutes() {
	for path, each := range byPath {
		if err := BindHTTPPath(path, each.binding); err != nil {
			Log(VerbosityError, "the route "+path+" was not bound: "+err.Error())
		}
	}
}

// BindHTTPPath has requests on a path delivered to OnHTTP.
func BindHTTPPath(path string, binding HTTPBinding) error {
	return callHTTPServerBindHTTPPath(strings.ToValidUTF8(path, "?"), binding)
}

// BindHTTPStaticPath serves content on a path, without asking the process.
func BindHTTPStaticPath(path string, binding HTTPBinding, content LazyLoadBlob) error {
	return callHTTPServerBindHTTPStaticPath(strings.ToValidUTF8(path, "?"), binding, content)
}

// ServeUI serves the files of the package's ui folder.
func ServeUI(path string, binding HTTPBinding) error {
	return callHTTPServerServeUI(strings.ToValidUTF8(path, "?"), binding)
}

// UnbindHTTPPath stops serving a path.
func UnbindHTTPPath(path string) { callHTTPServerUnbindHTTPPath(strings.ToValidUTF8(path, "?")) }

func handleHTTP(raw *IncomingHTTPRequest) {
	request := &HTTPRequest{IncomingHTTPRequest: *raw, claims: callHTTPServerHTTPRequestClaims()}
	if blob := callMessagingGetBlob(); blob != nil {
		request.Body = blob.Bytes
	}
	answer := TextResponse(500, "the process failed to answer\n")
	guarded("OnHTTP", func() { answer = answered(request) })
	if answer.Status == 0 {
		answer.Status = 200
	}
	if answer.MIME == "" {
		answer.MIME = "text/plain; charset=utf-8"
	}
	for i, pair := range answer.Headers {
		answer.Headers[i] = Pair{strings.ToValidUTF8(pair.Name, "?"), strings.ToValidUTF8(pair.Value, "?")}
	}
	callHTTPServerSendHTTPResponse(answer.Status, answer.Headers, &LazyLoadBlob{&answer.MIME, answer.Body})
}

func answered(request *HTTPRequest) HTTPResponse {
	of := byPath[request.BoundPath]
	if of == nil {
		if handlers.OnHTTP == nil {
			return TextResponse(404, "not found\n")
		}
		return handlers.OnHTTP(request)
	}
	method := request.Method
	if method == "HEAD" {
		method = "GET"
	}
	if handler := of.methods[method]; handler != nil {
		return handler(request)
	}
	allowed := []string{"OPTIONS"}
	for each := range of.methods {
		allowed = append(allowed, each)
		if each == "GET" {
			allowed = append(allowed, "HEAD")
		}
	}
	slices.Sort(allowed)
	answer := TextResponse(405, request.Method+" is not allowed here\n")
	if request.Method == "OPTIONS" {
		answer = TextResponse(204, "")
	}
	answer.Headers = []Pair{{"Allow", strings.Join(allowed, ", ")}}
	return answer
}
