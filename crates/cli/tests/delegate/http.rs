//! Http and CustomApproval steps.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::support::Home;
use crate::{processes, stage};

/// A server that answers each of so many requests with its number and what came.
fn server(requests: usize) -> (u16, thread::JoinHandle<Vec<String>>) {
    answering("201 Created", requests)
}

/// The same, with this status.
fn answering(status: &'static str, requests: usize) -> (u16, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serves = thread::spawn(move || {
        let mut seen = Vec::new();
        for number in 1..=requests {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let count = stream.read(&mut buffer).expect("a request");
                request.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_ascii_lowercase()
                            .strip_prefix("content-length: ")?
                            .parse()
                            .ok()
                    })
                    .unwrap_or(0);
                if body.len() >= length {
                    seen.push(text);
                    break;
                }
            }
            let body = format!("{{\"number\": {number}, \"state\": \"up\"}}");
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nX-Number: {number}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream
                .write_all((head + &body).as_bytes())
                .expect("an answer");
        }
        seen
    });
    (port, serves)
}

#[test]
fn a_request_its_answer_and_what_is_made_of_it() {
    let home = Home::new();
    let (port, serves) = server(2);
    let good = format!(
        "{{identifier: post, name: post, type: Http, spec: {{url: 'http://127.0.0.1:{port}/x?t=<+secrets.getValue(\"token\")>', method: post, \
         headers: [{{key: Authorization, value: 'Bearer <+secrets.getValue(\"token\")>'}}], requestBody: 'of <+spec.inputVariables.what>', inputVariables: [{{name: what, type: String, value: <+pipeline.name>}}], \
         assertion: '<+httpResponseCode> == 201 && <+httpResponseHeaders.get(\"x-number\")> == \"1\" && <+spec.inputVariables.what> == \"p\"', \
         outputVariables: [{{name: state, type: String, value: '<+json.select(\"state\", httpResponseBody)>'}}]}}}}"
    );
    let shows = crate::script(
        "shows",
        "echo it is <+execution.steps.post.output.outputVariables.state> by <+execution.steps.post.output.httpResponseCode>, <+execution.steps.post.output.status><+execution.steps.post.output.errorMsg>",
    );
    let bad = format!(
        "{{identifier: bad, name: bad, type: Http, failureStrategies: [{{onFailure: {{errors: [AllErrors], action: {{type: Ignore}}}}}}], spec: {{url: 'http://127.0.0.1:{port}/', method: GET, assertion: '<+httpResponseCode> == 200'}}}}"
    );
    let why = crate::script(
        "why",
        "echo it was <+steps.bad.output.status>: '<+steps.bad.output.errorMsg>'",
    );
    home.write("p.yaml", stage(&[&good, &shows, &bad, &why]));
    let seen = home.call(&["run", "p.yaml", "--secret", "token=open-door"]);
    assert_eq!(seen.code, Some(0), "{}{}", seen.out, seen.err);
    assert!(
        seen.out.contains("it is up by 201, SUCCESS\n"),
        "{}",
        seen.out
    );
    assert!(
        seen.out.contains("it was FAILURE: the assertion"),
        "{}",
        seen.out
    );
    assert!(
        seen.out
            .contains("the assertion `<+httpResponseCode> == 200` is false: the answer was 201"),
        "{}",
        seen.out
    );
    assert!(!seen.out.contains("open-door"), "{}", seen.out);
    let requests = serves.join().expect("two requests");
    assert!(
        requests[0].starts_with("POST /x?t=open-door"),
        "{}",
        requests[0]
    );
    assert!(requests[0].contains("Bearer open-door"), "{}", requests[0]);
    assert!(requests[0].ends_with("\r\n\r\nof p"), "{}", requests[0]);
    assert_eq!(processes(&home), Vec::<String>::new());
}

#[test]
fn a_login_that_is_refused_is_no_success_unless_that_is_asserted() {
    for (status, says) in [
        ("401 Unauthorized", "the answer was 401"),
        ("403 Forbidden", "the answer was 403"),
        ("404 Not Found", ""),
    ] {
        let home = Home::new();
        let (port, serves) = answering(status, 2);
        let step = |id: &str, more: &str| {
            format!(
                "{{identifier: {id}, name: {id}, type: Http, spec: {{url: 'http://127.0.0.1:{port}/', method: GET{more}, \
                 outputVariables: [{{name: none, type: String, value: '<+json.select(\"none.of.it\", httpResponseBody).x.y>'}}]}}}}"
            )
        };
        let asserted = step("asserted", ", assertion: '<+httpResponseCode> > 400'");
        let shows = crate::script(
            "shows",
            "echo it was <+execution.steps.asserted.output.httpResponseCode>",
        );
        let seen = home.run(&stage(&[&asserted, &shows, &step("plain", "")]));
        assert!(seen.out.contains("it was 40"), "{}{}", seen.out, seen.err);
        let code = i32::from(!says.is_empty());
        assert_eq!(seen.code, Some(code), "{status}: {}", seen.out);
        assert!(seen.out.contains(says), "{}", seen.out);
        serves.join().expect("two requests");
    }
}

#[test]
fn nobody_answers() {
    let home = Home::new();
    let address = crate::support::free_port();
    let step = format!(
        "{{identifier: g, name: g, type: Http, spec: {{url: 'http://{address}/', method: GET}}}}"
    );
    let seen = home.run(&stage(&[&step]));
    assert_eq!(seen.code, Some(1), "{}{}", seen.out, seen.err);
    let says = format!("no answer from {address}: Connection refused");
    assert!(seen.out.contains(&says), "{}", seen.out);
}

#[test]
fn a_script_is_asked_until_it_says_yes_or_no() {
    let home = Home::new();
    let step = |no: &str| {
        format!(
            "{{identifier: ask, name: ask, type: CustomApproval, timeout: 1m, spec: {{shell: Bash, retryInterval: 1s, scriptTimeout: 10s, \
             source: {{type: Inline, spec: {{script: \"n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; [ $n = 1 ] && export SAYS={no}; [ $n -lt 1 ] && exit 4; true\"}}}}, \
             outputVariables: [{{name: says, type: String, value: SAYS}}], \
             approvalCriteria: {{type: KeyValues, spec: {{conditions: [{{key: says, operator: in, value: \"yes,sure\"}}]}}}}, \
             rejectionCriteria: {{type: Jexl, spec: {{expression: '<+output.says> == \"no\"'}}}}}}}}"
        )
    };
    let seen = home.run(&stage(&[&step("sure")]));
    assert_eq!(seen.code, Some(0), "{}{}", seen.out, seen.err);
    assert!(
        seen.out.contains("the script failed with exit code 4"),
        "{}",
        seen.out
    );
    assert!(seen.out.contains("asking, try 2"), "{}", seen.out);
    assert!(!seen.out.contains("asking, try 3"), "{}", seen.out);
    let seen = home.run(&stage(&[&step("no")]));
    assert_eq!(seen.code, Some(1), "{}{}", seen.out, seen.err);
    assert!(
        seen.out
            .contains("rejected: the criteria for a rejection are met"),
        "{}",
        seen.out
    );
}

/// Its time is up between two askings: it is not asked again.
#[test]
fn an_asking_ends_with_its_time() {
    let home = Home::new();
    let step = "{identifier: ask, name: ask, type: CustomApproval, timeout: 10s, spec: {shell: Bash, retryInterval: 30s, scriptTimeout: 10s, \
                source: {type: Inline, spec: {script: \"SAYS=maybe\"}}, outputVariables: [{name: says, type: String, value: SAYS}], \
                approvalCriteria: {type: KeyValues, spec: {conditions: [{key: says, operator: equals, value: \"yes\"}]}}}}";
    let step = step.replace(
        "timeout: 10s, spec: {shell",
        "timeout: <+pipeline.variables.limit>, spec: {shell",
    );
    crate::expires(&home, &step);
    let events = home.call(&["inspect", "--events", "--output", "json"]);
    // It went when it was told to, and was not killed.
    assert!(!events.out.contains("\"Signal\":9"), "{}", events.out);
    assert!(events.out.contains("\"Code\":143"), "{}", events.out);
}
