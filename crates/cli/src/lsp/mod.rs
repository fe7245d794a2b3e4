//! `stepyard lsp`: the same diagnostics as `validate`, completion, hover and quick fixes, in any editor that speaks the
//! language server protocol.
//!
//! ```text
//! stdin ─► lsp_server ─► State (texts: open ones, and those of the folder) ─► judge ─► diagnostics
//!                                     └── place (where the cursor is, by indentation) ─► complete, hover
//! ```
//!
//! The place of the cursor is found in the text, not in a tree: while somebody types, the text is seldom YAML. What may stand
//! there is read from [`pipeline::model::Forms`], which the lowering itself makes; what may follow in an expression is
//! asked of the scope that a run will ask.

mod complete;
mod hover;
mod judge;
mod place;
mod state;
#[cfg(test)]
mod tests;

use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use serde_json::{Value, json};

use crate::problem::{Exit, Problem};
use state::State;

/// Serves until the editor says that it is over.
pub(crate) fn run() -> Result<Exit, Problem> {
    let (connection, threads) = Connection::stdio();
    let served = serve(&connection);
    // The writer ends when nothing can be sent any more.
    drop(connection);
    served.map_err(|e| Problem::failed(format!("the editor's connection broke: {e}")))?;
    threads
        .join()
        .map_err(|e| Problem::system("end the editor's connection", &e))?;
    Ok(Exit::Success)
}

fn serve(connection: &Connection) -> Result<(), lsp_server::ProtocolError> {
    let (id, params) = connection.initialize_start()?;
    let answer = json!({
        "capabilities": {
            // The whole text comes with every change: the longest are read in milliseconds.
            "textDocumentSync": {"openClose": true, "change": 1, "save": true},
            "completionProvider": {"triggerCharacters": [".", "+", ":", "\""]},
            "hoverProvider": true,
            "codeActionProvider": {"codeActionKinds": ["quickfix"]},
        },
        "serverInfo": {"name": "stepyard", "version": env!("CARGO_PKG_VERSION")},
    });
    connection.initialize_finish(id, answer)?;
    let mut state = State::new(&params);
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request)? {
                    return Ok(());
                }
                let response = answered(&state, request);
                if connection.sender.send(response.into()).is_err() {
                    return Ok(());
                }
            }
            Message::Notification(notification) => {
                for told in noticed(&mut state, &notification) {
                    if connection.sender.send(told.into()).is_err() {
                        return Ok(());
                    }
                }
            }
            Message::Response(_) => {}
        }
    }
    Ok(())
}

fn answered(state: &State, request: Request) -> Response {
    let params = &request.params;
    let result = match request.method.as_str() {
        "textDocument/completion" => complete::complete(state, params),
        "textDocument/hover" => hover::hover(state, params),
        "textDocument/codeAction" => judge::fixes(state, params),
        other => {
            let says = format!("`{other}` is not served");
            return Response::new_err(request.id, ErrorCode::MethodNotFound as i32, says);
        }
    };
    Response::new_ok(request.id, result)
}

/// What an editor tells, and what it is to be told then.
fn noticed(state: &mut State, notification: &Notification) -> Vec<Notification> {
    let params = &notification.params;
    let uri = params["textDocument"]["uri"].as_str().unwrap_or_default();
    match notification.method.as_str() {
        "textDocument/didOpen" => {
            let text = params["textDocument"]["text"].as_str().unwrap_or_default();
            state.open(uri, text);
        }
        "textDocument/didChange" => {
            let last = params["contentChanges"]
                .as_array()
                .and_then(|all| all.last());
            let text = last
                .and_then(|own| own["text"].as_str())
                .unwrap_or_default();
            state.open(uri, text);
        }
        "textDocument/didSave" | "workspace/didChangeWatchedFiles" => state.reread(),
        "textDocument/didClose" => state.close(uri),
        _ => return Vec::new(),
    }
    judge::judge(state)
        .into_iter()
        .map(|(uri, diagnostics)| {
            let params = json!({"uri": uri, "diagnostics": diagnostics});
            Notification::new("textDocument/publishDiagnostics".to_owned(), params)
        })
        .collect()
}

/// The text and the place that a request is about.
fn asked<'s>(state: &'s State, params: &Value) -> Option<(&'s str, &'s str, usize, usize)> {
    let uri = params["textDocument"]["uri"].as_str()?;
    let (uri, text) = state.text(uri)?;
    let line = usize::try_from(params["position"]["line"].as_u64()?).ok()?;
    let character = usize::try_from(params["position"]["character"].as_u64()?).ok()?;
    let own = text.split('\n').nth(line)?;
    Some((uri, text, line, state::from_utf16(own, character)))
}
