//! The contract's calls, as the node answers them; names and types are those of the bindings.

#![allow(missing_docs)] // see the contract

pub mod messaging {
    //! See `wit/messaging.wit`.

    use crate::contract::types::{
        Address, IncomingResponse, LazyLoadBlob, Message, Request, Response, SendError, SendErrorKind, SendFailure,
    };
    use crate::testing::exchanges::{Answer, HttpAnswer, SentRequest};
    use crate::testing::node::{Exchange, Node, Posted, with};

    type Context = Vec<u8>;
    /// What comes of a request: a response with its blob, an error, or nothing before a timer is due.
    type Outcome = Option<Result<(IncomingResponse, Option<LazyLoadBlob>), SendError>>;

    /// The fake host hands a process its messages by itself; a function that calls this is tested in a node.
    pub fn receive() -> Result<Message, SendFailure> {
        panic!("the fake host runs types that implement Process: test what calls receive() in a node");
    }

    /// As `receive`.
    pub fn receive_ws_push() -> Option<(u32, Option<String>, Option<Vec<u8>>)> {
        panic!("the fake host runs types that implement Process: test what calls receive_ws_push() in a node");
    }

    pub fn get_blob() -> Option<LazyLoadBlob> {
        with(|node| node.blob.clone())
    }

    pub fn get_blob_text() -> Option<String> {
        with(|node| String::from_utf8(node.blob.as_ref()?.bytes.clone()).ok())
    }

    pub fn has_blob() -> bool {
        with(|node| node.blob.is_some())
    }

    pub fn last_blob() -> Option<LazyLoadBlob> {
        with(|node| node.last_blob.clone())
    }

    pub fn send_request(target: &Address, request: &Request, context: Option<&[u8]>, blob: Option<&LazyLoadBlob>) {
        let outcome = ask(target, request, context, blob);
        with(|node| match outcome {
            Some(Err(error)) => {
                let failure = SendFailure { error, context: context.map(Into::into) };
                node.mailbox.push_back(Posted { message: Err(failure), blob: None, exchange: None });
            }
            Some(Ok((response, blob)))
                if request.expects_response.is_some() || response.response.body.starts_with(b"{\"Err\"") =>
            {
                node.mailbox.push_back(Posted { message: Ok(Message::Response(response)), blob, exchange: None });
            }
            _ => {}
        });
    }

    pub fn send_requests(requests: &[(Address, Request, Option<Context>, Option<LazyLoadBlob>)]) {
        for (target, request, context, blob) in requests {
            send_request(target, request, context.as_deref(), blob.as_ref());
        }
    }

    pub fn send_response(response: &Response, blob: Option<&LazyLoadBlob>) {
        with(|node| match node.to_answer.take() {
            Some(Exchange::Request(answer)) => {
                let inherited = node.blob.clone().filter(|_| response.inherit);
                answer.replace(Some(Answer {
                    body: response.body.clone(),
                    blob: blob.cloned().or(inherited),
                    metadata: response.metadata.clone(),
                    capabilities: node.handed_on(&response.capabilities),
                }));
            }
            Some(Exchange::Http { answer, head, .. }) => {
                let told: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
                let headers = told["headers"].as_object().into_iter().flatten();
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                answer.replace(Some(HttpAnswer {
                    status: told["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500),
                    headers: headers.map(|(name, value)| (name.clone(), text(value))).collect(),
                    mime: blob.and_then(|blob| blob.mime.clone()),
                    body: blob.filter(|_| !head).map_or_else(Vec::new, |blob| blob.bytes.clone()),
                }));
            }
            None => node.write(super::system::Verbosity::Warning, "a response was dropped: no request wants one"),
        });
    }

    pub fn send_and_await_response(
        target: &Address,
        request: &Request,
        blob: Option<&LazyLoadBlob>,
    ) -> Result<Message, SendError> {
        assert!(request.expects_response.is_some(), "a process traps that waits for no response");
        assert!(*target != with(|node| node.our.clone()), "a process traps that waits for itself");
        let waiting = Some(&b"a process that waits for a timer"[..]);
        let outcome = match ask(target, request, waiting, blob) {
            Some(outcome) => outcome,
            None => with(|node| node.wait_for_timer(waiting)), // and time passes
        };
        let (response, blob) = outcome?;
        with(|node| node.take_blob(blob));
        Ok(Message::Response(IncomingResponse { context: None, ..response }))
    }

    fn ask(target: &Address, request: &Request, context: Option<&[u8]>, blob: Option<&LazyLoadBlob>) -> Outcome {
        let inherited = with(|node| node.blob.clone()).filter(|_| request.inherit);
        let blob = blob.cloned().or(inherited);
        let sent = SentRequest {
            target: target.clone(),
            body: request.body.clone(),
            blob: blob.clone(),
            expects_response: request.expects_response,
            context: context.map(Into::into),
            metadata: request.metadata.clone(),
            capabilities: with(|node| node.handed_on(&request.capabilities)),
        };
        with(|node| node.sent.push(sent.clone()));
        let failed = |kind, missing| {
            let (target, request) = (target.clone(), request.clone());
            Some(Err(SendError { kind, target, request, lazy_load_blob: blob.clone(), missing }))
        };
        if let Some(missing) = with(|node| node.lacking(target)) {
            return failed(SendErrorKind::NotAuthorised, Some(missing));
        }
        if target.node != with(|node| node.our.node.clone()) {
            return failed(SendErrorKind::Offline, None);
        }
        if let Some(other) = with(|node| node.others.get(&target.process).cloned()) {
            let answer = other.borrow_mut()(&sent);
            return match answer {
                None if request.expects_response.is_some() => failed(SendErrorKind::Timeout, None),
                answer => Some(Ok(with(|node| answered(node, &sent, answer.unwrap_or_default())))),
            };
        }
        if target.process.package_name != "distro" || target.process.publisher_node != "sys" {
            return failed(SendErrorKind::NoSuchProcess, None);
        }
        let bytes = blob.as_ref().map(|blob| blob.bytes.as_slice());
        let (body, content) = match target.process.process_name.as_str() {
            "http-server" => (with(|node| node.answer_http_server(&request.body)), None),
            "timer" => (with(|node| node.set_timer(&sent))?, None),
            "kv" => with(|node| node.kv.carry_out(&request.body, bytes, node.timers.now)),
            "vfs" => with(|node| node.vfs.carry_out(&request.body, bytes)),
            "passwords" => (with(|node| node.passwords.carry_out(&request.body)), None),
            _ => return failed(SendErrorKind::NoSuchProcess, None),
        };
        let blob = content.map(|bytes| LazyLoadBlob { mime: None, bytes });
        Some(Ok(with(|node| answered(node, &sent, Answer { blob, ..Answer::new(body) }))))
    }

    /// A response as it arrives.
    pub(crate) fn answered(
        node: &mut Node,
        sent: &SentRequest,
        answer: Answer,
    ) -> (IncomingResponse, Option<LazyLoadBlob>) {
        node.receive_capabilities(&answer.capabilities);
        let Answer { body, blob, metadata, capabilities } = answer;
        let response = Response { inherit: false, body, metadata, capabilities };
        (IncomingResponse { source: sent.target.clone(), response, context: sent.context.clone() }, blob)
    }
}

pub mod http_server {
    //! See `wit/http-server.wit`.

    pub use crate::contract::raw::http_server::{
        BindError, ChannelPolicy, CloseError, HttpBinding, PushError, WsBinding,
    };
    use crate::contract::types::{HttpServerRequest, LazyLoadBlob, WsMessageType};
    use crate::testing::exchanges::HttpAnswer;
    use crate::testing::node::{Exchange, Node, Posted, with};

    pub fn send_ws_push(
        node: &str,
        channel_id: u32,
        message_type: WsMessageType,
        blob: &LazyLoadBlob,
    ) -> Result<(), PushError> {
        with(|here| match here.our.node == node {
            true => here.push(channel_id, message_type, &blob.bytes),
            false => Err(PushError::NodeUnreachable),
        })
    }

    pub fn send_ws_text(channel_id: u32, text: &str) -> Result<(), PushError> {
        with(|node| node.push(channel_id, WsMessageType::Text, text.as_bytes()))
    }

    pub fn send_ws_push_many(
        channel_ids: &[u32],
        message_type: WsMessageType,
        blob: &LazyLoadBlob,
    ) -> Vec<(u32, PushError)> {
        let push = |id: &u32| Some((*id, with(|node| node.push(*id, message_type, &blob.bytes)).err()?));
        channel_ids.iter().filter_map(push).collect()
    }

    pub fn send_ws_text_many(channel_ids: &[u32], text: &str) -> Vec<(u32, PushError)> {
        channel_ids.iter().filter_map(|id| Some((*id, send_ws_text(*id, text).err()?))).collect()
    }

    pub fn send_ws_push_to_path(path: &str, message_type: WsMessageType, blob: &LazyLoadBlob) -> Vec<(u32, PushError)> {
        send_ws_push_many(&with(|node| node.channels_on(path)), message_type, blob)
    }

    pub fn send_ws_text_to_path(path: &str, text: &str) -> Vec<(u32, PushError)> {
        send_ws_text_many(&with(|node| node.channels_on(path)), text)
    }

    pub fn send_ws_push_waiting(
        channel_id: u32,
        message_type: WsMessageType,
        blob: &LazyLoadBlob,
    ) -> Result<(), PushError> {
        with(|node| node.push_waiting(channel_id, message_type, &blob.bytes))
    }

    pub fn set_channel_policy(channel_id: u32, policy: ChannelPolicy) -> Result<(), PushError> {
        with(|node| {
            node.channel(channel_id).ok_or(PushError::ChannelNotFound)?.policy = policy;
            Ok(())
        })
    }

    /// No channel of the fake host is an extension's.
    pub fn send_ws_extension_push(
        _channel_id: u32,
        _blob: &LazyLoadBlob,
        _response_seconds: Option<u32>,
    ) -> Result<Option<LazyLoadBlob>, PushError> {
        Err(PushError::ChannelNotFound)
    }

    pub fn close_channel(channel_id: u32, code: Option<u16>, reason: &str) -> Result<(), CloseError> {
        with(|node| node.close_channel(channel_id, code, reason))
    }

    pub fn close_channels(channel_ids: &[u32], code: Option<u16>, reason: &str) -> Vec<(u32, CloseError)> {
        channel_ids.iter().filter_map(|id| Some((*id, close_channel(*id, code, reason).err()?))).collect()
    }

    pub fn channel_claims(channel_id: u32) -> Option<String> {
        with(|node| Some(node.channel(channel_id)?.claims.as_ref()?.to_string()))
    }

    pub fn http_request_claims() -> Option<String> {
        with(|node| Some(node.http_claims.as_ref()?.to_string()))
    }

    pub fn bind_ws_path(path: &str, binding: &WsBinding) -> Result<(), BindError> {
        binds(|node, has_room| node.ws.bind(path, binding.clone(), has_room))
    }

    pub fn unbind_ws_path(path: &str) {
        with(|node| {
            node.ws.unbind(path);
            let on_path = node.channels.values_mut().filter(|ends| ends.is_open());
            for ends in on_path.filter(|ends| ends.bound_path.as_deref() == Some(path)) {
                ends.closed = Some((1001, "the path is no longer bound".into()));
                let closed = HttpServerRequest::WebSocketClose(ends.opened.channel_id);
                node.mailbox.push_back(Posted::event(closed, None));
            }
        });
    }

    pub fn bind_http_path(path: &str, binding: HttpBinding) -> Result<(), BindError> {
        binds(|node, has_room| {
            node.http.bind(path, binding, has_room)?;
            node.static_content.remove(path);
            Ok(())
        })
    }

    pub fn bind_http_static_path(path: &str, binding: HttpBinding, content: &LazyLoadBlob) -> Result<(), BindError> {
        binds(|node, has_room| {
            node.http.bind(path, binding, has_room)?;
            node.static_content.insert(path.into(), content.clone());
            Ok(())
        })
    }

    pub fn serve_ui(path: &str, binding: HttpBinding) -> Result<(), BindError> {
        binds(|node, has_room| match node.has_ui {
            true => node.ui.bind(path, binding, has_room),
            false => Err(BindError::NoUi),
        })
    }

    pub fn unbind_http_path(path: &str) {
        with(|node| {
            node.http.unbind(path);
            node.ui.unbind(path);
            node.static_content.remove(path);
        });
    }

    pub fn send_http_response(status: u16, headers: &[(String, String)], body: Option<&LazyLoadBlob>) {
        with(|node| {
            let Some(Exchange::Http { answer, head, .. }) = node.to_answer.take() else {
                let text = "an HTTP response was dropped: no HTTP request waits for one";
                return node.write(super::system::Verbosity::Warning, text);
            };
            answer.replace(Some(HttpAnswer {
                status,
                headers: headers.to_vec(),
                mime: body.and_then(|blob| blob.mime.clone()),
                body: body.filter(|_| !head).map_or_else(Vec::new, |blob| blob.bytes.clone()),
            }));
        });
    }

    fn binds(bind: impl FnOnce(&mut Node, bool) -> Result<(), BindError>) -> Result<(), BindError> {
        with(|node| {
            if let Some(missing) = node.lacking(&node.here("http-server")) {
                return Err(BindError::NotAuthorised(missing));
            }
            let has_room = node.has_room_to_bind();
            bind(node, has_room)
        })
    }
}

pub mod system {
    //! See `wit/system.wit`.

    use crate::capabilities::Capability;
    pub use crate::contract::raw::system::{StateError, Verbosity};
    use crate::contract::types::{Address, OnExit};
    use crate::testing::node::with;

    pub fn our() -> Address {
        with(|node| node.our.clone())
    }

    pub fn print(verbosity: Verbosity, text: &str) {
        with(|node| node.write(verbosity, text));
    }

    pub fn get_state() -> Option<Vec<u8>> {
        with(|node| node.state.clone())
    }

    pub fn set_state(bytes: &[u8]) -> Result<(), StateError> {
        with(|node| {
            let issuer = node.here("state");
            let of_state = node.held.iter().filter(|each| each.issuer == issuer);
            let allowed =
                |each: &Capability| serde_json::from_str::<serde_json::Value>(&each.params).ok()?["bytes"].as_u64();
            let most = of_state.filter_map(allowed).max().unwrap_or(0);
            if bytes.len() as u64 > most {
                let needed = Capability::of(issuer, serde_json::json!({"bytes": bytes.len()}));
                return Err(StateError::TooBig(needed));
            }
            node.state = Some(bytes.to_vec());
            Ok(())
        })
    }

    pub fn clear_state() -> Result<(), StateError> {
        with(|node| node.state = None);
        Ok(())
    }

    pub fn get_on_exit() -> OnExit {
        with(|node| node.on_exit.clone())
    }

    pub fn set_on_exit(on_exit: &OnExit) {
        with(|node| node.on_exit = on_exit.clone());
    }
}

pub mod capabilities {
    //! See `wit/capabilities.wit`.

    use crate::contract::types::Capability;
    use crate::testing::node::{canonical, with};

    pub fn save(capabilities: &[Capability]) {
        with(|node| {
            let kept = node.handed_on(capabilities);
            node.held.extend(kept);
        });
    }

    pub fn drop(capabilities: &[Capability]) {
        with(|node| {
            for each in capabilities {
                node.held.remove(&canonical(each));
            }
        });
    }

    pub fn ours() -> Vec<Capability> {
        with(|node| node.held.iter().cloned().collect())
    }
}

pub mod spawning {
    //! See `wit/spawning.wit`.

    use crate::capabilities::Capability;
    pub use crate::contract::raw::spawning::SpawnError;
    use crate::contract::types::{OnExit, ProcessId};
    use crate::testing::exchanges::Spawned;
    use crate::testing::node::{canonical, with};

    pub fn spawn(
        name: Option<&str>,
        wasm_path: &str,
        on_exit: &OnExit,
        request_capabilities: &[Capability],
        grant_capabilities: &[ProcessId],
        public: bool,
    ) -> Result<ProcessId, SpawnError> {
        with(|node| {
            let right = Capability::of(node.here("kernel"), "spawn");
            if !node.held.contains(&right) {
                return Err(SpawnError::NotAuthorised(right));
            }
            if !node.components.contains(wasm_path) {
                return Err(SpawnError::NoFileAtPath);
            }
            let ours = &node.our.process;
            let name = name.map_or_else(|| format!("child-{}", node.spawned.len()), Into::into);
            let id = ProcessId::new(&name, &ours.package_name, &ours.publisher_node);
            if id == *ours || node.spawned.iter().any(|known| known.id == id) {
                return Err(SpawnError::NameTaken);
            }
            let asked = request_capabilities.iter().map(canonical);
            node.spawned.push(Spawned {
                id: id.clone(),
                wasm_path: wasm_path.into(),
                on_exit: on_exit.clone(),
                capabilities: asked.filter(|each| node.held.contains(each)).collect(),
                granted: grant_capabilities.to_vec(),
                public,
            });
            Ok(id)
        })
    }
}

pub mod tracing {
    //! See `wit/tracing.wit`. As on a node without tracing, no message is traced.

    pub use crate::contract::raw::tracing::AttributeValue;

    pub fn traceparent() -> Option<String> {
        None
    }

    pub fn start_span(_name: &str) -> u32 {
        0
    }

    pub fn end_span(_span: u32, _error: Option<&str>) {}

    pub fn set_attributes(_span: u32, _attributes: &[(String, AttributeValue)]) {}

    pub fn add_event(_span: u32, _name: &str, _attributes: &[(String, AttributeValue)]) {}
}
