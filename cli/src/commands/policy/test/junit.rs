//! JUnit XML, as CI systems read it: a suite a file, a test case a case. It holds no times: the same files give the same text.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Tested;
use crate::{commands::inert, error::Failure};

pub(super) fn xml(all: &[Tested]) -> Result<String, Failure> {
    let mut report = Report::new("breakdown policy test");
    for tested in all {
        let mut suite = TestSuite::new(inert(&tested.file));
        match &tested.result {
            Ok(cases) => {
                for case in cases {
                    let status = match case.ran.failures.first() {
                        None => TestCaseStatus::success(),
                        Some(first) => failed(
                            NonSuccessKind::Failure,
                            &format!("step {}: {}", first.step, first.message),
                            &case.lines().join(
                                "
",
                            ),
                        ),
                    };
                    suite.add_test_case(named(&case.name, &tested.file, status));
                }
            }
            Err(broken) => {
                let status = failed(NonSuccessKind::Error, &broken.in_short(), &broken.in_words(false));
                suite.add_test_case(named("the file can be run", &tested.file, status));
            }
        }
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| Failure::failed(format!("JUnit XML cannot be written: {error}")))
}

fn named(name: &str, file: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(inert(name), status);
    case.set_classname(inert(file));
    case
}

fn failed(kind: NonSuccessKind, message: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(inert(message)).set_description(text);
    status
}
