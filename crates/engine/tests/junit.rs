//! Reports as the tools really write them: each dialect with what is odd in it.

use engine::junit::{Summary, Verdict};

/// Tests, failed, errors, skipped, milliseconds.
type Counts = (u64, u64, u64, u64, u64);

const SUREFIRE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report-3.0.xsd" version="3.0" name="com.example.CartTest" time="1,234.5" tests="3" errors="1" skipped="0" failures="1">
  <properties><property name="java.version" value="21"/></properties>
  <testcase name="adds" classname="com.example.CartTest" time="1,200.25"/>
  <testcase name="removes" classname="com.example.CartTest" time="0.01">
    <failure message="expected: &lt;1&gt; but was: &lt;2&gt;" type="org.opentest4j.AssertionFailedError"><![CDATA[org.opentest4j.AssertionFailedError
	at com.example.CartTest.removes(CartTest.java:12)]]></failure>
    <system-out><![CDATA[noise]]></system-out>
  </testcase>
  <testcase name="flaky" classname="com.example.CartTest" time="0.02"><error type="java.lang.NullPointerException"/>
    <rerunFailure message="again" type="x">again</rerunFailure></testcase>
</testsuite>"#;

const PYTEST: &str = r#"<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="4" time="0.050" timestamp="2026-01-02T03:04:05.678901" hostname="h"><testcase classname="tests.test_a.TestA" name="test_x[1-&amp;]" time="0.001" /><testcase classname="tests.test_a" name="test_y" time="0.002"><failure message="assert 1 == 2">def test_y():
&gt;       assert 1 == 2
E       assert 1 == 2</failure></testcase><testcase classname="tests.test_a" name="test_z" time="0.000"><skipped type="pytest.skip" message="not here">a.py:9: not here</skipped></testcase><testcase classname="tests.test_a" name="test_w" time="0.003"><error message="failed on setup with &quot;KeyError&quot;">KeyError</error></testcase></testsuite></testsuites>"#;

const GOTESTSUM: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" errors="0" time="0.304000">
	<testsuite tests="3" failures="1" time="0.304000" name="example.com/app/pkg" timestamp="2026-01-02T03:04:05Z">
		<properties><property name="go.version" value="go1.25 linux/amd64"></property></properties>
		<testcase classname="example.com/app/pkg" name="TestA" time="0.100000"></testcase>
		<testcase classname="example.com/app/pkg" name="TestB/sub=1" time=""><failure message="Failed" type="">=== RUN   TestB&#xA;    b_test.go:5: bad&#xA;--- FAIL: TestB (0.00s)&#xA;</failure></testcase>
		<testcase classname="" name="TestC" time="0.000000"><skipped message="=== RUN   TestC&#xA;"></skipped></testcase>
	</testsuite>
</testsuites>"#;

const JEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="jest tests" tests="2" failures="1" errors="0" time="1.5">
  <testsuite name="cart" errors="0" failures="1" skipped="0" timestamp="2026-01-02T03:04:05" time="0.7" tests="2">
    <testcase classname="cart adds" name="cart adds" time="0.004"></testcase>
    <testcase classname="cart removes" name="cart removes" time="0.003"><failure>Error: expect(received).toBe(expected)

Expected: 1
Received: 2</failure></testcase>
  </testsuite>
</testsuites>"#;

const PHPUNIT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="/app/phpunit.xml" tests="3" assertions="3" errors="1" failures="1" skipped="0" time="0.030">
    <testsuite name="unit" tests="3" assertions="3" errors="1" failures="1" skipped="0" time="0.030">
      <testsuite name="CartTest" file="/app/tests/CartTest.php" tests="3" assertions="3" errors="1" failures="1" time="0.030">
        <testcase name="testAdds" file="/app/tests/CartTest.php" line="9" class="CartTest" classname="CartTest" assertions="1" time="0.010"/>
        <testcase name="testRemoves" class="CartTest" classname="CartTest" assertions="1" time="0.010"><failure type="PHPUnit\Framework\ExpectationFailedException">CartTest::testRemoves
Failed asserting that 2 matches expected 1.</failure></testcase>
        <testsuite name="CartTest::testEach" tests="1" time="0.010">
          <testcase name="testEach with data set #0" class="CartTest" classname="CartTest" time="0.010"><error type="Error">Error: boom</error></testcase>
        </testsuite>
      </testsuite>
    </testsuite>
  </testsuite>
</testsuites>"#;

const XUNIT: &str = r#"<testsuites>
  <testsuite name="App.Tests.dll" tests="2" skipped="1" failures="0" errors="0" time="0.2" timestamp="2026-01-02T03:04:05" hostname="H" id="0" package="App.Tests.dll">
    <properties />
    <testcase classname="App.Tests.CartTests" name="Adds(a: &quot;x&quot;, b: 1)" time="0.2" />
    <testcase classname="App.Tests.CartTests" name="Removes" time="0"><skipped /></testcase>
    <system-out>Test Framework Informational Messages:</system-out>
    <system-err />
  </testsuite>
</testsuites>"#;

const NEXTEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="1" errors="0" uuid="45c50042-482e-477e-88a2-60cfcc3eaf95" timestamp="2026-01-02T03:04:05.123+00:00" time="0.023">
    <testsuite name="app::bin/app" tests="3" disabled="0" errors="0" failures="1">
        <testcase name="tests::adds" classname="app::bin/app" timestamp="2026-01-02T03:04:05.124+00:00" time="0.004"/>
        <testcase name="tests::flaky" classname="app::bin/app" time="0.005"><flakyFailure timestamp="t" time="0.003" message="first try" type="test failure">out</flakyFailure></testcase>
        <testcase name="tests::removes" classname="app::bin/app" time="0.006"><failure message="thread &apos;tests::removes&apos; panicked" type="test failure">thread &apos;tests::removes&apos; panicked at src/main.rs:9</failure><system-err>x</system-err></testcase>
    </testsuite>
</testsuites>"#;

const DIALECTS: [(&str, &str, Counts, &str); 7] = [
    (
        "surefire",
        SUREFIRE,
        (3, 1, 1, 0, 1_200_280),
        "com.example.CartTest removes: expected: <1> but was: <2>",
    ),
    (
        "pytest",
        PYTEST,
        (4, 1, 1, 1, 6),
        "tests.test_a test_y: assert 1 == 2",
    ),
    (
        "gotestsum",
        GOTESTSUM,
        (3, 1, 0, 1, 100),
        "example.com/app/pkg TestB/sub=1: Failed",
    ),
    (
        "jest",
        JEST,
        (2, 1, 0, 0, 7),
        "cart removes cart removes: Error: expect(received).toBe(expected)",
    ),
    (
        "phpunit",
        PHPUNIT,
        (3, 1, 1, 0, 30),
        "CartTest testRemoves: CartTest::testRemoves",
    ),
    ("xunit", XUNIT, (2, 0, 0, 1, 200), ""),
    (
        "nextest",
        NEXTEST,
        (3, 1, 0, 0, 15),
        "app::bin/app tests::removes: thread 'tests::removes' panicked",
    ),
];

fn counts(summary: &Summary) -> Counts {
    (
        summary.tests,
        summary.failed,
        summary.errors,
        summary.skipped,
        summary.time_ms,
    )
}

#[test]
fn every_dialect_is_read_as_its_tool_means_it() {
    for (name, text, wanted, failure) in DIALECTS {
        let mut summary = Summary::default();
        summary.add(name, text.as_bytes());
        assert_eq!(summary.warnings, Vec::<String>::new(), "{name}");
        assert_eq!(counts(&summary), wanted, "{name}");
        let first = summary
            .cases
            .iter()
            .find(|case| case.result == Verdict::Failed)
            .map_or_else(String::new, |case| {
                let line = case.message.lines().next().unwrap_or_default();
                format!("{} {}: {line}", case.class, case.name)
            });
        assert_eq!(first, failure, "{name}");
    }
}

#[test]
fn reports_of_all_of_them_are_summed() {
    let mut summary = Summary::default();
    for (name, text, ..) in DIALECTS {
        summary.add(name, text.as_bytes());
    }
    assert_eq!(counts(&summary), (20, 6, 3, 3, 1_200_638));
    assert_eq!(summary.slowest(1)[0].name, "adds");
}
