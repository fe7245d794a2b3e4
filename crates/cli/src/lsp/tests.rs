//! An editor's side of the conversation, in memory: the same messages that a real one sends.

use lsp_server::{Connection, Message, Notification, Request, Response};
use serde_json::{Value, json};

use super::serve;

const PIPELINE: &str = "pipeline:
  identifier: p
  name: p
  variables:
    - {name: tag, type: String, value: v1}
  stages:
    - stage:
        identifier: build
        name: build
        type: Custom
        spec:
          execution:
            steps:
              - stepGroup:
                  identifier: pod
                  name: pod
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: k8s, namespace: ns}}
                  steps:
                    - step:
                        identifier: compile
                        name: compile
                        type: Run
                        spec:
                          image: alpine
                          command: echo <+pipeline.variables.tag>
                          outputVariables: [{name: VERSION}]
                    - step:
                        identifier: publish
                        name: publish
                        type: Run
                        spec:
                          image: alpine
                          command: |
                            echo
";

/// A conversation with a server.
struct Editor {
    connection: Connection,
    server: Option<std::thread::JoinHandle<()>>,
    next: i32,
}

impl Editor {
    fn begin() -> Self {
        let (server, connection) = Connection::memory();
        let thread = std::thread::spawn(move || serve(&server).expect("served to the end"));
        let mut editor = Self {
            connection,
            server: Some(thread),
            next: 0,
        };
        let answer = editor.ask("initialize", json!({"capabilities": {}}));
        assert_eq!(answer["serverInfo"]["name"], "stepyard");
        editor.tell("initialized", json!({}));
        editor
    }

    fn tell(&self, method: &str, params: Value) {
        let message = Notification::new(method.to_owned(), params);
        self.connection.sender.send(message.into()).expect("sent");
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let request = Request::new(self.next.into(), method.to_owned(), params);
        self.connection.sender.send(request.into()).expect("sent");
        loop {
            if let Message::Response(Response {
                response_result, ..
            }) = self.message()
            {
                return response_result.expect("an answer");
            }
        }
    }

    fn message(&self) -> Message {
        self.connection.receiver.recv().expect("a message")
    }

    /// Opens a text, and what is said of it.
    fn open(&self, text: &str) -> Vec<String> {
        self.tell(
            "textDocument/didOpen",
            json!({"textDocument": {"uri": "file:///p.yaml", "languageId": "yaml", "version": 1, "text": text}}),
        );
        loop {
            if let Message::Notification(told) = self.message() {
                assert_eq!(told.method, "textDocument/publishDiagnostics");
                let all = told.params["diagnostics"].as_array().cloned();
                return all
                    .unwrap_or_default()
                    .iter()
                    .filter(|own| own["severity"] == 1)
                    .map(|own| {
                        let line = &own["range"]["start"]["line"];
                        format!(
                            "{line} {} {}",
                            own["code"].as_str().unwrap_or_default(),
                            own["message"].as_str().unwrap_or_default()
                        )
                    })
                    .collect();
            }
        }
    }

    /// Opens a text in which `|` is the cursor; what is asked of the place.
    fn at(&mut self, text: &str, method: &str) -> Value {
        let at = text.find('¦').expect("a cursor");
        let whole = text.replacen('¦', "", 1);
        self.open(&whole);
        let line = text[..at].matches('\n').count();
        let column = at - text[..at].rfind('\n').map_or(0, |at| at + 1);
        self.ask(
            method,
            json!({"textDocument": {"uri": "file:///p.yaml"}, "position": {"line": line, "character": column}}),
        )
    }

    fn completed(&mut self, text: &str) -> Vec<String> {
        let answer = self.at(text, "textDocument/completion");
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|own| own["label"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.ask("shutdown", Value::Null), Value::Null);
        self.tell("exit", Value::Null);
        self.server
            .take()
            .expect("a server")
            .join()
            .expect("it ends");
    }
}

#[test]
fn diagnostics_come_with_every_change_and_go_when_mended() {
    let editor = Editor::begin();
    let said = editor.open(&PIPELINE.replace("variables.tag>", "variables.tga>"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("24 SY0502 unknown: `pipeline.variables.tga`"),
        "{said:?}"
    );
    assert_eq!(editor.open(PIPELINE), Vec::<String>::new());
    let said = editor.open("pipeline: [\n");
    assert!(said[0].contains("SY0003"), "{said:?}");
}

#[test]
fn what_may_be_written_is_completed() {
    let mut editor = Editor::begin();
    let with = |from: &str, to: &str| {
        assert!(PIPELINE.contains(from), "{from}");
        PIPELINE.replacen(from, to, 1)
    };
    for (text, has, lacks) in [
        // Keys of a step's spec, by its type; those that are there are left out.
        (
            with(
                "          image: alpine\n",
                "          image: alpine\n                          ¦\n",
            ),
            "shell",
            "image",
        ),
        (
            with("type: Run", "type: Run\n                        wh¦"),
            "when",
            "type",
        ),
        (
            with("  name: p\n", "  name: p\n  ¦\n"),
            "flowControl",
            "stages",
        ),
        ("¦\n".to_owned(), "pipeline", "stages"),
        // Words.
        (with("type: Run", "type: ¦"), "GitClone", "Deployment"),
        (with("type: Custom", "type: ¦"), "Deployment", "Run"),
        // Paths.
        (with("echo\n", "echo <+¦\n"), "pipeline", "tag"),
        (
            with("echo\n", "echo <+pipeline.variables.¦\n"),
            "tag",
            "name",
        ),
        (with("echo\n", "echo <+steps.¦\n"), "compile", "build"),
        (
            with("echo\n", "echo <+steps.compile.output.outputVariables.¦\n"),
            "VERSION",
            "name",
        ),
        (with("echo\n", "echo <+stepGroup.¦\n"), "variables", "tag"),
        (
            with("echo\n", "echo <+pipeline.name> <+stage.na¦\n"),
            "name",
            "stages",
        ),
    ] {
        let found = editor.completed(&text);
        assert!(
            found.iter().any(|own| own == has),
            "{has} in {found:?}\n{text}"
        );
        assert!(
            !found.iter().any(|own| own == lacks),
            "{lacks} in {found:?}"
        );
    }
    // A connector of a further document.
    let text = with(
        "image: alpine\n",
        "image: alpine\n                          connectorRef: ¦\n",
    ) + "---\nconnector: {identifier: registry, name: r, type: DockerRegistry, spec: {}}\n";
    assert_eq!(editor.completed(&text), ["registry"]);
    // In a script nothing of ours is offered.
    assert_eq!(
        editor.completed(&with("echo\n", "ec¦ho\n")),
        Vec::<String>::new()
    );
}

#[test]
fn what_stands_there_is_explained() {
    let mut editor = Editor::begin();
    for (from, to, says) in [
        ("command: echo <", "com¦mand: echo <", "**command**"),
        ("type: Run", "type: Ru¦n", "runs in a container"),
        (
            "variables.tag>",
            "variables.ta¦g>",
            "`pipeline.variables.tag` is `v1`",
        ),
    ] {
        let answer = editor.at(&PIPELINE.replacen(from, to, 1), "textDocument/hover");
        let text = answer["contents"]["value"].as_str().unwrap_or_default();
        assert!(text.contains(says), "{says}: {answer}");
    }
}

#[test]
fn a_slip_of_the_fingers_is_mended() {
    let mut editor = Editor::begin();
    editor.open(&PIPELINE.replace("  name: p\n", "  nmae: p\n"));
    let range = json!({"start": {"line": 2, "character": 0}, "end": {"line": 2, "character": 9}});
    let answer = editor.ask(
        "textDocument/codeAction",
        json!({"textDocument": {"uri": "file:///p.yaml"}, "range": range, "context": {"diagnostics": []}}),
    );
    assert_eq!(
        answer[0]["edit"]["changes"]["file:///p.yaml"][0]["newText"], "name",
        "{answer}"
    );
}
