//! What a process of the delegate does: a script, a request, or a script that is asked again and again.

use std::collections::BTreeMap;

use syntax::expr::{self, Piece, Template};
use syntax::{Diagnostic, Spanned, code};

use crate::model::{
    self, CriteriaOperator, CriteriaType, CustomApproval, Http, Param, ScriptShell, ScriptSource,
    ShellScript, SourceType, Variable, VariableType,
};

use super::Text;
use super::script::{self, Shell};
use super::step::{Prepared, Program, outputs, secret};
use super::values::Values;

/// What the delegate does by itself, without a script's shell.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// It sends a request.
    Http(Box<Request>),
    /// It asks a script again and again.
    Approval(Box<Asking>),
}

/// A request, secrets still references.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// `GET`, `POST`, …, in capitals.
    pub method: String,
    /// Where to.
    pub url: Text,
    /// Its headers, in order.
    pub headers: Vec<(String, Text)>,
    /// Its body.
    pub body: Option<Text>,
    /// The client's certificate and its key, PEM.
    pub certificate: Option<(Text, Text)>,
    /// An expression over the answer.
    pub assertion: Option<String>,
    /// Outputs, as templates over the answer.
    pub outputs: Vec<Computed>,
    /// What those may read beside the answer, by path.
    pub known: BTreeMap<String, serde_json::Value>,
}

/// An output that is an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// Its name.
    pub name: String,
    /// The template.
    pub text: String,
    /// Its value is a secret.
    pub secret: bool,
}

/// A script that is asked again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Asking {
    /// What reads it.
    pub shell: Shell,
    /// It; secrets are in the environment.
    pub text: String,
    /// Milliseconds between two askings.
    pub interval_ms: u64,
    /// Milliseconds that one may take.
    pub timeout_ms: u64,
    /// When it is a yes.
    pub approval: Criteria,
    /// When it is a no.
    pub rejection: Option<Criteria>,
    /// What criteria may read beside the outputs, by path.
    pub known: BTreeMap<String, serde_json::Value>,
}

/// When an answer counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Criteria {
    /// An expression over the outputs.
    Jexl(String),
    /// Outputs are compared.
    KeyValues {
        /// One that holds is enough.
        any: bool,
        /// Name, how, with what.
        conditions: Vec<(String, CriteriaOperator, String)>,
    },
}

/// What the answer of a request is called in expressions.
pub const ANSWER: [&str; 5] = [
    "httpResponseCode",
    "httpResponseBody",
    "httpResponseHeaders",
    "httpUrl",
    "httpMethod",
];

/// A script in the delegate's shell.
pub(super) fn shell_script(
    own: &ShellScript,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
    made: &mut Prepared,
) {
    if values.get(own.on_delegate.as_ref(), "onDelegate") == Some(false) {
        values.push(
            Diagnostic::error(
                code::SETTING_NOT_RUN,
                "a script on a remote host is not run",
            )
            .at(own.on_delegate.as_ref().map_or(own.span, Param::span), "")
            .help("write `onDelegate: true`: it then runs where stepyard does"),
        );
    }
    variables(own.env.as_ref(), values, env);
    if let Some((shell, text)) = placed(own.source.as_ref(), own.shell.as_ref(), values, env) {
        // A ShellScript goes on after a command that fails; only its last one counts, unless it says `set -e` itself.
        let text = format!("set +e; {text}");
        made.program = Program::Script { shell, text };
    }
    made.outputs = outputs(own.outputs.as_ref(), values);
}

/// A request.
pub(super) fn http(own: &Http, values: &Values<'_, '_>, made: &mut Prepared) {
    let text = |param: Option<&Param<String>>, name| {
        param
            .and_then(|param| values.text(param, name))
            .filter(|text| !text.is_empty())
    };
    let method: Option<String> = values.get(own.method.as_ref(), "method");
    let method = method.unwrap_or_default().to_ascii_uppercase();
    if !method.bytes().all(|byte| byte.is_ascii_uppercase()) || method.is_empty() {
        let at = own.method.as_ref().map_or(own.span, Param::span);
        values.push(
            Diagnostic::error(code::WRONG_TYPE, format!("`{method}` is no method of HTTP"))
                .at(at, "")
                .help("write `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD` or `OPTIONS`"),
        );
    }
    let mut known = BTreeMap::new();
    let assertion = own.assertion.as_ref().map(|param| param.text().to_owned());
    if let Some(param) = own.assertion.as_ref().filter(|own| !own.text().is_empty()) {
        let text = Spanned::new(param.text().to_owned(), param.span());
        learn(&text, true, &ANSWER, "assertion", values, &mut known);
    }
    let list = values
        .get(own.outputs.as_ref(), "outputVariables")
        .unwrap_or_default();
    let mut computed = Vec::new();
    for variable in &list {
        let (Some(name), Some(value)) = (&variable.name, &variable.value) else {
            continue;
        };
        let text = Spanned::new(value.text().to_owned(), value.span());
        learn(&text, false, &ANSWER, &name.value, values, &mut known);
        computed.push(Computed {
            name: name.value.clone(),
            text: text.value,
            secret: is_secret(variable),
        });
    }
    let headers = own.headers.iter().filter_map(|header| {
        let key = header.key.as_ref()?.value.clone();
        let value = match &header.value {
            Some(value) => values.text(value, &key)?,
            None => Vec::new(),
        };
        Some((key, value))
    });
    let certificate = text(own.certificate.as_ref(), "certificate");
    let key = text(own.certificate_key.as_ref(), "certificateKey");
    made.program = Program::Task(Task::Http(Box::new(Request {
        method,
        url: text(own.url.as_ref(), "url").unwrap_or_default(),
        headers: headers.collect(),
        body: text(own.body.as_ref(), "requestBody"),
        certificate: certificate.zip(key),
        assertion: assertion.filter(|text| !text.trim().is_empty()),
        outputs: computed,
        known,
    })));
    made.outputs = list
        .iter()
        .filter_map(|own| {
            let name = own.name.as_ref()?.value.clone();
            Some(super::Output {
                source: name.clone(),
                name,
                secret: is_secret(own),
            })
        })
        .collect();
}

/// A script that is asked again and again.
pub(super) fn custom_approval(
    own: &CustomApproval,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
    made: &mut Prepared,
) {
    variables(own.env.as_ref(), values, env);
    let ms = |param, name| {
        values
            .get(param, name)
            .map_or(0, |duration: model::Duration| duration.ms)
    };
    let mut known = BTreeMap::new();
    let approval = own
        .approval
        .as_ref()
        .and_then(|own| criteria(own, "approvalCriteria", values, &mut known));
    let rejection = own
        .rejection
        .as_ref()
        .and_then(|own| criteria(own, "rejectionCriteria", values, &mut known));
    let placed = placed(own.source.as_ref(), own.shell.as_ref(), values, env);
    if let (Some((shell, text)), Some(approval)) = (placed, approval) {
        made.program = Program::Task(Task::Approval(Box::new(Asking {
            shell,
            text: format!("set +e; {text}"),
            interval_ms: ms(own.retry_interval.as_ref(), "retryInterval"),
            timeout_ms: ms(own.script_timeout.as_ref(), "scriptTimeout"),
            approval,
            rejection,
            known,
        })));
    }
    made.outputs = outputs(own.outputs.as_ref(), values);
}

fn criteria(
    own: &model::Criteria,
    name: &str,
    values: &Values<'_, '_>,
    known: &mut BTreeMap<String, serde_json::Value>,
) -> Option<Criteria> {
    let spec = own.spec.as_ref()?;
    Some(match own.kind.as_ref()?.value {
        CriteriaType::Jexl => {
            let param = spec.expression.as_ref()?;
            let text = Spanned::new(param.text().to_owned(), param.span());
            learn(&text, true, &["output"], name, values, known);
            Criteria::Jexl(text.value)
        }
        CriteriaType::KeyValues => Criteria::KeyValues {
            any: values
                .get(spec.any.as_ref(), "matchAnyCondition")
                .unwrap_or(false),
            conditions: spec
                .conditions
                .iter()
                .filter_map(|own| {
                    Some((
                        own.key.as_ref()?.value.clone(),
                        own.operator.as_ref()?.value,
                        values.get(own.value.as_ref(), "value")?,
                    ))
                })
                .collect(),
        },
    })
}

/// What an expression reads that is known now; what begins with one of `later` is known only to the process.
fn learn(
    text: &Spanned<String>,
    condition: bool,
    later: &[&str],
    name: &str,
    values: &Values<'_, '_>,
    known: &mut BTreeMap<String, serde_json::Value>,
) {
    let paths = if condition {
        expr::parse_condition(&text.value).map(|expr| expr.paths())
    } else {
        Template::parse(&text.value).map(|template| template.paths())
    };
    let paths = match paths {
        Ok(paths) => paths,
        Err(error) => {
            values.push(
                Diagnostic::error(code::BAD_EXPRESSION, format!("`{name}`: {error}"))
                    .at(text.span, "")
                    .help("write it as `<+path.to.value>`"),
            );
            return;
        }
    };
    for path in paths {
        // A name alone is that of a function.
        if path.len() < 2 || later.contains(&path[0].as_str()) {
            continue;
        }
        let path = path.join(".");
        let asked = Spanned::new(format!("<+{path}>"), text.span);
        let Some(value) = values.evaluate(&asked, name) else {
            continue;
        };
        match json(&value) {
            Some(value) => {
                known.insert(path, value);
            }
            None => values.secret(text.span, name),
        }
    }
}

/// A value as JSON; none where a secret is in it.
fn json(value: &expr::Value) -> Option<serde_json::Value> {
    use expr::Value;
    if value.has_secret() {
        return None;
    }
    Some(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(own) => (*own).into(),
        Value::Int(own) => (*own).into(),
        Value::Float(own) => (*own).into(),
        Value::Text(own) => (**own).into(),
        other => serde_json::from_str(&other.to_text()?).ok()?,
    })
}

/// The script with its shell, its secrets put into the environment.
fn placed(
    source: Option<&ScriptSource>,
    shell: Option<&Param<ScriptShell>>,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
) -> Option<(Shell, String)> {
    let source = source?;
    let shell = match values.get(shell, "shell")? {
        ScriptShell::Bash => Shell::Bash,
        ScriptShell::Sh => Shell::Sh,
        ScriptShell::PowerShell => {
            values.push(
                Diagnostic::error(code::OS_NOT_RUN, "PowerShell is not run on a delegate")
                    .at(source.span, "")
                    .help("write `shell: Bash`"),
            );
            return None;
        }
    };
    let Some(script) = source.inline() else {
        if let Some(kind) = source
            .kind
            .as_ref()
            .filter(|kind| kind.value != SourceType::Inline)
        {
            values.push(
                Diagnostic::error(
                    code::SETTING_NOT_RUN,
                    format!("a script of type {} cannot be read here", kind.value),
                )
                .at(kind.span, "")
                .help("write `type: Inline`, and the script under `spec.script`"),
            );
        }
        return None;
    };
    let pieces = values.text(script, "script")?;
    let taken: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
    let placed = script::place(&pieces, shell, &taken);
    for (name, reference) in placed.secrets {
        env.push((name, vec![Piece::Secret(reference)]));
    }
    Some((shell, placed.text))
}

fn is_secret(variable: &Variable) -> bool {
    variable
        .kind
        .as_ref()
        .is_some_and(|kind| kind.value == VariableType::Secret)
}

/// `environmentVariables`: the value of a secret one is its reference, or an expression that gives it.
fn variables(
    written: Option<&Param<Vec<Variable>>>,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
) {
    let list = values
        .get(written, "environmentVariables")
        .unwrap_or_default();
    for own in &list {
        let (Some(name), Some(value)) = (&own.name, own.value.as_ref().or(own.default.as_ref()))
        else {
            continue;
        };
        let text = match value {
            Param::Literal(reference) if is_secret(own) => {
                model::Ref::parse(&reference.value).map(|reference| secret(&reference))
            }
            _ => values.text(value, &name.value),
        };
        if let Some(text) = text {
            env.push((name.value.clone(), text));
        }
    }
}
