//! A client of the language server that speaks JSON-RPC to the binary over its pipes, as an editor does.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

struct Client {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Client {
    fn begin() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stepyard"))
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            stdin,
            stdout,
        }
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("written");
        self.stdin.flush().expect("flushed");
    }

    /// The answer to a request; what is told in between is passed over.
    fn answer(&mut self, id: u32) -> Value {
        loop {
            let message = self.read();
            if message["id"] == id {
                return message;
            }
        }
    }

    fn read(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(
                self.stdout.read_line(&mut line).expect("read") > 0,
                "it ended"
            );
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("Content-Length: ") {
                length = text.parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).expect("read");
        serde_json::from_slice(&body).expect("JSON")
    }
}

#[test]
fn an_editor_is_served_over_pipes() {
    let folder = tempfile::tempdir().expect("a folder");
    let template = "template: {identifier: greet, name: g, versionLabel: v1, type: Step, spec: {type: Run, spec: {image: alpine, command: <+input>}}}\n";
    std::fs::write(folder.path().join("templates.yaml"), template).expect("written");
    let root = format!("file://{}", folder.path().display());
    let text = "pipeline:
  identifier: p
  name: p
  stages:
    - stage:
        identifier: s
        name: s
        type: Custom
        spec:
          execution:
            steps:
              - stepGroup:
                  identifier: g
                  name: g
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: k, namespace: n}}
                  steps:
                    - step: {identifier: a, name: a, template: {templateRef: greet, versionLabel: v1, templateInputs: {spec: {comand: x}}}}
";
    let uri = format!("{root}/pipeline.yaml");
    let mut client = Client::begin();
    client.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"processId": null, "rootUri": root, "capabilities": {}}}));
    let answer = client.read();
    assert_eq!(answer["result"]["serverInfo"]["name"], "stepyard");
    client.send(&json!({"jsonrpc": "2.0", "method": "initialized", "params": {}}));
    client.send(&json!({"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}}}));
    let told = loop {
        let message = client.read();
        if message["params"]["uri"] == uri.as_str() {
            break message["params"]["diagnostics"].clone();
        }
    };
    // The template of the folder is known: its input is misspelt, and so not given.
    let errors: Vec<&str> = told
        .as_array()
        .expect("a list")
        .iter()
        .filter(|own| own["severity"] == 1)
        .filter_map(|own| own["code"].as_str())
        .collect();
    assert_eq!(errors, ["SY0310", "SY0310"], "{told}");
    let mend = json!({"textDocument": {"uri": uri}, "range": {"start": {"line": 16, "character": 0}, "end": {"line": 16, "character": 9}}, "context": {"diagnostics": []}});
    client.send(
        &json!({"jsonrpc": "2.0", "id": 2, "method": "textDocument/codeAction", "params": mend}),
    );
    let answer = client.answer(2);
    assert!(
        answer.to_string().contains("\"newText\":\"command\""),
        "{answer}"
    );
    client.send(&json!({"jsonrpc": "2.0", "id": 3, "method": "shutdown"}));
    assert!(client.answer(3)["error"].is_null());
    client.send(&json!({"jsonrpc": "2.0", "method": "exit"}));
    assert!(client.child.wait().expect("it ends").success());
}
