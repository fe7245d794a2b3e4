//! Tables: a text, and what it is worth.

use proptest::prelude::*;

use super::*;

fn world() -> Tree {
    Tree::from([
        (
            "pipeline",
            Value::from([
                ("name", Value::from("demo")),
                (
                    "variables",
                    Value::from([
                        ("tag", Value::from("v1.2.3")),
                        ("count", Value::from(3)),
                        ("list", Value::from("a,b,,c,,")),
                        ("my key", Value::from("spaced")),
                        ("x-y", Value::from("dashed")),
                        ("token", Value::Secret(SecretRef("org.token".into()))),
                    ]),
                ),
            ]),
        ),
        (
            "steps",
            Value::from([(
                "build",
                Value::from([(
                    "output",
                    Value::from([(
                        "outputVariables",
                        Value::from([
                            ("VERSION", Value::from("7")),
                            ("JSON", Value::from(r#"{"a":[{"b":1},{"b":2}],"n":"x"}"#)),
                        ]),
                    )]),
                )]),
            )]),
        ),
        ("nothing", Value::Null),
    ])
}

struct Clocked(Tree);

impl Scope for Clocked {
    fn lookup(&self, path: &[&str]) -> Lookup {
        match path {
            ["loop"] => Lookup::Template {
                template: Template::parse("a<+loop>").expect("parses").into(),
                used: 1,
            },
            ["url"] => Lookup::Template {
                template: Template::parse("https://<+secrets.getValue(\"pw\")>@<+pipeline.name>")
                    .expect("parses")
                    .into(),
                used: 1,
            },
            _ => self.0.lookup(path),
        }
    }

    fn now_ms(&self) -> Option<i64> {
        Some(1_709_210_096_000) // 2024-02-29T12:34:56Z
    }
}

fn eval(text: &str) -> Result<Value, Error> {
    Template::parse(text)?.value(&Clocked(world()))
}

fn shown(text: &str) -> String {
    match eval(text) {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{}..{}: {error}", error.span.start, error.span.end),
    }
}

#[test]
fn values() {
    let table: &[(&str, Value)] = &[
        // Templates and types.
        ("plain > text", "plain > text".into()),
        ("", "".into()),
        ("<+pipeline.name>", "demo".into()),
        ("x<+pipeline.name>y", "xdemoy".into()),
        ("<+pipeline.variables.count>", 3.into()),
        ("n<+pipeline.variables.count>", "n3".into()),
        ("<+pipeline.variables[\"my key\"]>", "spaced".into()),
        ("<+pipeline.variables.\"my key\">", "spaced".into()),
        // Names put together from parts, as loops need them.
        ("<+pipeline.variables.ta<+\"g\">>", "v1.2.3".into()),
        (
            "<+steps.<+\"bu\">il<+\"d\">.output.outputVariables.VERSION>",
            "7".into(),
        ),
        ("<+pipeline.variables.<+\"tag\">.length()>", 6.into()),
        ("<+pipeline.variables.get(\"x-y\")>", "dashed".into()),
        (
            "<+pipeline.variables.get(<+\"ta\" + \"g\">)>",
            "v1.2.3".into(),
        ),
        ("<+<+pipeline.name>.toUpperCase()>", "DEMO".into()),
        (
            "<+\"<+pipeline.name>-<+pipeline.variables.count>\">",
            "demo-3".into(),
        ),
        // Where an expression ends.
        ("<+pipeline.variables.count> > 2", "3 > 2".into()),
        ("<+pipeline.variables.count > 2>", true.into()),
        ("<+(pipeline.variables.count>2)>", true.into()),
        ("<+pipeline.variables.count >= 4>", false.into()),
        ("<+ pipeline.name > out", "demo out".into()),
        ("<+ pipeline.name > out\nx>", "demo out\nx>".into()),
        ("<+\"a>b\">", "a>b".into()),
        // Operators.
        ("<+1 + 2 * 3>", 7.into()),
        ("<+(1 + 2) * 3>", 9.into()),
        ("<+7 / 2>", 3.into()),
        ("<+7.0 / 2>", Value::Float(3.5)),
        ("<+7 % 4>", 3.into()),
        ("<+-3 - -4>", 1.into()),
        (
            "<+9223372036854775807 + 1>",
            Value::Float(9_223_372_036_854_775_808.0),
        ),
        ("<+\"a\" + 1>", "a1".into()),
        ("<+\"6\" - 1>", 5.into()),
        (
            "<+steps.build.output.outputVariables.VERSION == 7>",
            true.into(),
        ),
        ("<+\"true\" == true>", true.into()),
        ("<+null == nothing>", true.into()),
        ("<+\"a\" != \"b\">", true.into()),
        ("<+\"10\" gt \"9\">", true.into()),
        ("<+\"abc\" < \"abd\">", true.into()),
        ("<+\"v1.2\" =~ \"v[0-9.]+\">", true.into()),
        ("<+\"xv1\" =~ \"v1\">", false.into()),
        ("<+\"xv1\" !~ \"v1\">", true.into()),
        ("<+\"b\" =~ [\"a\", \"b\"]>", true.into()),
        ("<+!true || true && !false>", true.into()),
        ("<+not false and true>", true.into()),
        ("<+false && missing.path>", false.into()),
        (
            "<+pipeline.name == \"demo\" ? \"yes\" : \"no\">",
            "yes".into(),
        ),
        ("<+nothing ?: \"else\">", "else".into()),
        (
            "<+empty(nothing) && empty(\"\") && empty([]) && !empty(\"a\")>",
            true.into(),
        ),
        ("<+empty(pipeline.variables.unknown)>", true.into()),
        ("<+size([1,2,3])>", 3.into()),
        (
            "<+[1, \"a\", {k: 2}]>",
            Value::from(vec![1.into(), "a".into(), Value::from([("k", 2)])]),
        ),
        ("<+{\"a\": {b: 5}}.a.b>", 5.into()),
        ("<+[4,5][1]>", 5.into()),
        ("<+\"tab\\tnew\\nq\\\"u\\u0041\">", "tab\tnew\nq\"uA".into()),
        // Methods of texts.
        ("<+pipeline.variables.tag.contains(\"1.2\")>", true.into()),
        ("<+pipeline.variables.tag.startsWith(\"v\")>", true.into()),
        ("<+pipeline.variables.tag.endsWith(\"v\")>", false.into()),
        ("<+pipeline.variables.tag.split(\"\\.\")[1]>", "2".into()),
        ("<+pipeline.variables.list.split(\",\").size()>", 4.into()),
        (
            "<+pipeline.variables.list.split(\",\", -1).size()>",
            6.into(),
        ),
        (
            "<+pipeline.variables.list.split(\",\", 2)[1]>",
            "b,,c,,".into(),
        ),
        ("<+pipeline.variables.tag.substring(1)>", "1.2.3".into()),
        ("<+pipeline.variables.tag.substring(1, 4)>", "1.2".into()),
        ("<+pipeline.variables.tag.indexOf(\".\")>", 2.into()),
        ("<+pipeline.variables.tag.lastIndexOf(\".\")>", 4.into()),
        ("<+pipeline.variables.tag.indexOf(\"!\")>", (-1).into()),
        ("<+\"aäb\".indexOf(\"b\")>", 2.into()),
        ("<+\"a.b\".replace(\".\", \"-\")>", "a-b".into()),
        ("<+\"a1b22\".replaceAll(\"[0-9]+\", \"#\")>", "a#b#".into()),
        (
            "<+\"k=v\".replaceAll(\"(.)=(.)\", \"$2=$1\")>",
            "v=k".into(),
        ),
        ("<+\"a1b2\".replaceFirst(\"[0-9]\", \"\")>", "ab2".into()),
        ("<+\"Ab\".toLowerCase()>", "ab".into()),
        ("<+\" a \".trim()>", "a".into()),
        ("<+\"abc\".charAt(1)>", "b".into()),
        ("<+\"abc\".length()>", 3.into()),
        ("<+\"a\".concat(\"b\")>", "ab".into()),
        ("<+\"abc\".matches(\"a.c\")>", true.into()),
        ("<+\"\".isEmpty()>", true.into()),
        ("<+\"Ab\".equalsIgnoreCase(\"aB\")>", true.into()),
        ("<+[1,2].contains(2)>", true.into()),
        ("<+{a: 1}.containsKey(\"a\")>", true.into()),
        // Functors.
        (
            "<+json.select(\"a[1].b\", steps.build.output.outputVariables.JSON)>",
            "2".into(),
        ),
        (
            "<+json.select(\"$.n\", <+steps.build.output.outputVariables.JSON>)>",
            "x".into(),
        ),
        (
            "<+json.list(\"a[*].b\", steps.build.output.outputVariables.JSON)>",
            Value::from(vec![1.into(), 2.into()]),
        ),
        (
            "<+json.object(steps.build.output.outputVariables.JSON).a[0].b>",
            1.into(),
        ),
        (
            "<+json.format({a: [1, null, \"x\"]})>",
            r#"{"a":[1,null,"x"]}"#.into(),
        ),
        // XML.
        (
            "<+xml.select(\"/a/b\", \"<a><b>1</b><b>2</b></a>\")>",
            "1".into(),
        ),
        (
            "<+xml.select(\"//b[2]\", \"<a><b>1</b><b>2</b></a>\")>",
            "2".into(),
        ),
        (
            "<+xml.select(\"/a/b[last()]/text()\", \"<a><b>1</b><b>2 &amp; <i>x</i></b></a>\")>",
            "2 & ".into(),
        ),
        (
            "<+xml.select(\"string(/a)\", \"<a>1<b>2</b></a>\")>",
            "12".into(),
        ),
        (
            "<+xml.select(\"/a/b[@id='y']/@v\", \"<a><b id='x' v='1'/><b id='y' v='2'/></a>\")>",
            "2".into(),
        ),
        (
            "<+xml.select(\"//book[title='Go']/../@n\", \"<a n='7'><book><title>Go</title></book></a>\")>",
            "7".into(),
        ),
        (
            "<+xml.select(\"count(//b)\", \"<a><b/><c><b/></c></a>\")>",
            2.into(),
        ),
        ("<+xml.select(\"/a/none\", \"<a/>\")>", "".into()),
        (
            "<+xml.select(\"/project/version\", \"<project xmlns='u'><x:version xmlns:x='v'><![CDATA[1.2]]></x:version></project>\")>",
            "1.2".into(),
        ),
        // Operators of JEXL that are seldom met.
        ("<+\"abc\" =^ \"ab\">", true.into()),
        ("<+\"abc\" !^ \"ab\">", false.into()),
        ("<+\"abc\" =$ \"bc\">", true.into()),
        ("<+\"abc\" !$ \"x\">", true.into()),
        ("<+1 === \"1\">", false.into()),
        ("<+1 !== \"1\">", true.into()),
        ("<+6 & 3 | 8 ^ 1>", 11.into()),
        ("<+~0>", (-1).into()),
        ("<+(1..4).size()>", 4.into()),
        ("<+3..1>", Value::from(vec![3.into(), 2.into(), 1.into()])),
        ("<+pipeline.variables.unknown ?? \"x\">", "x".into()),
        ("<+nothing ?? \"x\">", "x".into()),
        ("<+pipeline.variables.unknown ?: \"x\">", "x".into()),
        (
            "<+pipeline.get(\"variables\").get(\"tag\").length()>",
            6.into(),
        ),
        ("<+\"\" ?? \"x\">", "".into()),
        ("<+pipeline.variables.unknown?.a.b>", Value::Null),
        ("<+nothing?.trim()>", Value::Null),
        ("<+pipeline?.name>", "demo".into()),
        ("<+\"b\".compareTo(\"a\")>", 1.into()),
        ("<+\"aba\".indexOf(\"a\", 1)>", 2.into()),
        ("<+\"a\nb\".lines().size()>", 2.into()),
        (
            "<+[1,2,3].subList(1, 3)>",
            Value::from(vec![2.into(), 3.into()]),
        ),
        ("<+[1,2].containsAll([2])>", true.into()),
        ("<+{a: 1}.getOrDefault(\"b\", 2)>", 2.into()),
        ("<+regex.extract(\"[0-9]+\", \"ab12c3\")>", "12".into()),
        ("<+regex.match(\"[0-9]\", \"ab\")>", false.into()),
        ("<+regex.replace(\"b\", \"x\", \"abb\")>", "axx".into()),
        ("<+datetime.currentDate()>", "2024-02-29".into()),
        ("<+datetime.currentTime()>", "12:34:56".into()),
        ("<+datetime.getDatePlusDays(1)>", "2024-03-01".into()),
        ("<+datetime.getDateMinusDays(60)>", "2023-12-31".into()),
        // Secrets pass through and are never looked at.
        (
            "<+secrets.getValue(\"a.b\")>",
            Value::Secret(SecretRef("a.b".into())),
        ),
        (
            "<+true ? secrets.getValue(\"x\") : \"\">",
            Value::Secret(SecretRef("x".into())),
        ),
        (
            "<+url>",
            Value::Mixed(
                vec![
                    Piece::Text("https://".into()),
                    Piece::Secret(SecretRef("pw".into())),
                    Piece::Text("@demo".into()),
                ]
                .into(),
            ),
        ),
    ];
    for (text, wanted) in table {
        assert_eq!(shown(text), format!("{wanted:?}"), "{text}");
    }
}

#[test]
fn problems() {
    let table = [
        (
            "<+pipeline.nmae>",
            "2..15: unknown: `pipeline.nmae`; did you mean `name`?",
        ),
        (
            "ab <+pipelin.name>",
            "5..17: unknown: `pipelin`; did you mean `pipeline`?",
        ),
        (
            "<+pipeline.name",
            "0..2: the expression never closes: `>` is missing",
        ),
        ("<+\"abc>", "2..3: a string in the expression never ends"),
        ("<+>", "2..2: the expression is empty"),
        ("<+1 +>", "5..5: expected a value, found the end"),
        ("<+a b>", "4..5: expected an operator or the end, found `b`"),
        (
            "<+'it''s'>",
            "6..9: expected an operator or the end, found `'s'`",
        ),
        ("<+a ? b>", "7..7: expected `:`, found the end"),
        ("<+1 / 0>", "2..7: division by zero"),
        ("<+1 % (2 - 2)>", "2..12: division by zero"),
        (
            "<+99999999999999999999>",
            "2..22: `99999999999999999999` is not a number that can be held",
        ),
        (
            "<+\"a\".getClass()>",
            "2..16: a text has no `getClass()`; did you mean `get`?",
        ),
        (
            "<+\"a\".toUppercase()>",
            "2..19: a text has no `toUppercase()`; did you mean `toUpperCase`?",
        ),
        (
            "<+\"a\".length>",
            "2..12: a text has no `length`; did you mean `length()`?",
        ),
        ("<+\"a\" * 2>", "2..9: `*` does not take a text"),
        ("<+[1][4]>", "2..8: the index 4 is outside of a list of 1"),
        (
            "<+\"a\" =~ \"(\">",
            "2..12: not a regular expression: found open group without closing ')'",
        ),
        (
            "<+json.object(\"{\")>",
            "2..18: not JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            "<+json.selct(\"a\", \"{}\")>",
            "2..23: there is no function `json.selct`; did you mean `json.select`?",
        ),
        (
            "<+xml.select(\"/a\", \"<a>\")>",
            "2..25: not XML: it ends too early",
        ),
        (
            "<+xml.select(\"/a[\", \"<a/>\")>",
            "2..27: not XML: the path `/a[` cannot be read",
        ),
        (
            "<+xml.select(\"/a\", \"<a>&boom;</a>\")>",
            "2..35: not XML: the entity `&boom;` is not known",
        ),
        (
            "<+fileStore.getAsStrin(\"/a\")>",
            "2..28: there is no function `fileStore.getAsStrin`; did you mean `fileStore.getAsString`?",
        ),
        (
            "<+fileStore.getAsString(\"/a\")>",
            "2..29: `fileStore.getAsString()` is not known here",
        ),
        (
            "<+1..99999999>",
            "2..13: the expression makes a value of more than 262144 bytes",
        ),
        (
            "<+1.5 & 1>",
            "2..9: `&` does not take a number with a fraction",
        ),
        (
            "<+siez(1)>",
            "2..9: there is no function `siez`; did you mean `size`?",
        ),
        (
            "<+pipeline.variables.token == \"x\">",
            "2..33: `==` cannot look into a secret: its value is only known to the step's own process",
        ),
        (
            "<+pipeline.variables.token.length()>",
            "2..35: `.length()` cannot look into a secret: its value is only known to the step's own process",
        ),
        ("<+loop>", "2..6: the expression is nested too deeply"),
        (
            "<+\"a\".repeat(300000)>",
            "2..20: the expression makes a value of more than 262144 bytes",
        ),
    ];
    for (text, wanted) in table {
        assert_eq!(shown(text), wanted, "{text}");
    }
}

#[test]
fn secrets_stay_references_in_pieces() {
    let template = Template::parse("login -p <+pipeline.variables.token> <+url> --ok <+1 + 1>")
        .expect("parses");
    let pieces = template.pieces(&Clocked(world())).expect("evaluates");
    let secret = |id: &str| Piece::Secret(SecretRef(id.into()));
    let text = |text: &str| Piece::Text(text.into());
    assert_eq!(
        pieces,
        vec![
            text("login -p "),
            secret("org.token"),
            text(" https://"),
            secret("pw"),
            text("@demo --ok 2"),
        ]
    );
    let error = template.text(&Clocked(world())).expect_err("no text");
    assert!(matches!(error.problem, Problem::Secret(_)), "{error}");
}

#[test]
fn conditions_are_expressions_around_expressions() {
    let table = [
        (
            "<+pipeline.name> == \"demo\" && <+pipeline.variables.count> > 2",
            true,
        ),
        ("<+pipeline.variables.count> >= 4", false),
        ("\"<+pipeline.name>\" == \"demo\"", true),
        ("true", true),
    ];
    for (text, wanted) in table {
        let value = parse_condition(text)
            .and_then(|expr| expr.value(&world()))
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(value.holds(), wanted, "{text}");
    }
}

#[test]
fn what_is_unknown_is_null_in_a_condition() {
    let table = [
        ("<+pipeline.variables.unknown> == \"x\"", false),
        ("<+pipeline.variables.unknown> == null", true),
        ("<+steps.gone.output.outputVariables.X> != \"x\"", true),
        ("<+pipeline.variables.unknown>.contains(\"x\")", false),
        ("!<+pipeline.variables.unknown.contains(\"x\")>", true),
        ("<+pipeline.name> =~ \"d.*\"", true),
        ("\"false\"", false),
        ("<+pipeline.variables.list>", true),
    ];
    for (text, wanted) in table {
        let held = parse_condition(text)
            .and_then(|expr| expr.holds(&world()))
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(held, wanted, "{text}");
    }
    let looks = parse_condition("<+pipeline.variables.token> == \"x\"").expect("parses");
    assert!(matches!(
        looks.holds(&world()).expect_err("a secret").problem,
        Problem::Secret(_)
    ));
}

#[test]
fn paths_are_found_without_evaluation() {
    let template = Template::parse(
        "<+steps.a.output.outputVariables.X> <+env.name == \"p\" ? stage.name : pipeline[\"name\"].trim()>",
    )
    .expect("parses");
    let paths: Vec<String> = template.paths().iter().map(|path| path.join(".")).collect();
    assert_eq!(
        paths,
        [
            "steps.a.output.outputVariables.X",
            "env.name",
            "stage.name",
            "pipeline.name"
        ]
    );
}

#[test]
fn bombs_are_refused_and_do_not_break_the_stack() {
    let many = |open: &str, inner: &str, close: &str, n: usize| {
        format!("<+{}{inner}{}>", open.repeat(n), close.repeat(n))
    };
    for text in [
        many("(", "1", ")", 20_000),
        many("[", "", "]", 20_000),
        many("<+", "1", ">", 20_000),
        many("!", "1", "", 20_000),
        many("1+", "1", "", 20_000),
        many("a.", "b", "", 20_000),
        many("1?", "1", ":1", 15_000),
        many("a?:", "1", "", 15_000),
        many("\"<+", "1", ">\"", 10_000),
        format!("<+{}>", "a".repeat(1 << 20)),
        format!("<+\"{}\">", "a".repeat(1 << 20)),
    ] {
        let error = Template::parse(&text).expect_err("too deep or too long");
        assert!(
            matches!(error.problem, Problem::TooDeep | Problem::TooLong(_)),
            "{error}"
        );
    }
    assert!(
        shown("<+\"x\".repeat(100000).replaceAll(\"x\", \"yyyyyyyyyy\")>").contains("more than")
    );
}

proptest! {
    #[test]
    fn nothing_panics(text in "(<\\+|>|=\\^|\\?\\.|[a-z.\"'()\\[\\]{}?:!=~<>&|+*/% 0-9\\\\ä\\n-]){0,60}") {
        if let Ok(template) = Template::parse(&text) {
            let _ = template.value(&Clocked(world()));
            let _ = template.pieces(&Clocked(world()));
        }
        if let Ok(expr) = parse_condition(&text) {
            let _ = expr.value(&world());
        }
    }

    #[test]
    fn any_text_is_safe(text in any::<String>()) {
        let _ = Template::parse(&text).map(|template| template.value(&world()));
        let _ = Template::parse(&format!("<+{text}>")).map(|template| template.value(&world()));
    }

    #[test]
    fn text_without_expressions_stays(text in "[^<]{0,80}") {
        let template = Template::parse(&text).expect("parses");
        prop_assert_eq!(template.literal(), Some(text.as_str()));
    }

    #[test]
    fn integers_add_and_compare(a in -1000_i64..1000, b in -1000_i64..1000) {
        prop_assert_eq!(eval(&format!("<+({a}) + ({b})>")).expect("adds"), Value::Int(a + b));
        prop_assert_eq!(eval(&format!("<+({a} > {b})>")).expect("compares"), Value::Bool(a > b));
    }
}
