package guest

import "strings"

// Span is a part of the trace of the message that is being handled, while it is sampled.
type Span struct{ id uint32 }

// StartSpan begins a span within the one that began last and has not ended. It costs next to nothing when the message
// is not sampled.
func StartSpan(name string) Span {
	return Span{callTracingStartSpan(strings.ToValidUTF8(name, "?"))}
}

// End ends it; an error is noted in it.
func (s Span) End(err error) {
	var text *string
	if err != nil {
		told := strings.ToValidUTF8(err.Error(), "?")
		text = &told
	}
	callTracingEndSpan(s.id, text)
}

// Set sets attributes: see TextAttribute and the like.
func (s Span) Set(attributes ...Attribute) { callTracingSetAttributes(s.id, attributes) }

// AddEvent notes what happened now.
func (s Span) AddEvent(name string, attributes ...Attribute) {
	callTracingAddEvent(s.id, strings.ToValidUTF8(name, "?"), attributes)
}

// TextAttribute is an attribute of text.
func TextAttribute(name, value string) Attribute {
	value = strings.ToValidUTF8(value, "?")
	return Attribute{strings.ToValidUTF8(name, "?"), AttributeValue{Kind: AttributeValueText, Text: &value}}
}

// IntegerAttribute is an attribute of a whole number.
func IntegerAttribute(name string, value int64) Attribute {
	return Attribute{strings.ToValidUTF8(name, "?"), AttributeValue{Kind: AttributeValueInteger, Integer: &value}}
}

// NumberAttribute is an attribute of a number.
func NumberAttribute(name string, value float64) Attribute {
	return Attribute{strings.ToValidUTF8(name, "?"), AttributeValue{Kind: AttributeValueNumber, Number: &value}}
}

// TruthAttribute is an attribute that is true or false.
func TruthAttribute(name string, value bool) Attribute {
	return Attribute{strings.ToValidUTF8(name, "?"), AttributeValue{Kind: AttributeValueTruth, Truth: &value}}
}

// Traceparent is the trace context of the message that is being handled (W3C Trace Context); empty if it has none.
func Traceparent() string {
	if text := callTracingTraceparent(); text != nil {
		return *text
	}
	return ""
}
