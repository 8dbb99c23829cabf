//! `breakdown policy test`: the cases that stand beside policies, in `*.test.yaml`.

mod disk;
mod find;
mod junit;
mod print;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use ::policy::{
    Diagnostic, Ruleset,
    cases::{self, Ran, Work},
};
use clap::Args;

use super::diagnostics::in_source;
use crate::{commands::inert, error::Failure};

/// The format in short; docs/policy.md says more.
const FORMAT: &str = "\
A test file stands beside its policy: policy.test.yaml beside policy.yaml.

  cases:
    - name: An overdue issue is unblocked every day
      steps:
        - event: { type: issue_opened, labels: [export], assignee: kim, due_at: 2026-01-06T12:00:00Z }
          expect: [\"post_nudge team:triage triage-new\"]        # exactly these; [] for none
        - advance: 27h                                          # time passes, timers fire
          expect: [{ action: schedule_unblocker, target: \"owner:kim\", at: 2026-01-06T12:00:00Z }]

A step: at TIME or advance DURATION; event {fields}, file EVENT.json or policy FILE; expect, or expect_some and
expect_none. An expected action: some of action, target, rule, at, issue, project, rationale, params; or in short
\"ACTION TARGET RULE @TIME\".

Exit code: 0 when every case passes, 1 when one fails, 2 when a file cannot be run.";

#[derive(Debug, Args)]
#[command(after_long_help = FORMAT)]
pub(super) struct Test {
    /// Test files (*.test.yaml), policies that have one, or directories that hold some [default: .]
    #[arg(value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Run the cases against this policy instead of their own
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Also write JUnit XML; - for standard output, instead of all else
    #[arg(long, value_name = "FILE|-")]
    junit: Option<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print JSON: an object a case, one a policy, one in all
    #[arg(long)]
    json: bool,
}

/// A test file, and what came of it.
struct Tested {
    /// As it was named or found.
    file: String,
    /// The policy's file.
    policy: String,
    result: Result<Vec<TestedCase>, Broken>,
}

struct TestedCase {
    name: String,
    line: usize,
    ran: Ran,
}

/// Why the cases of a file could not be run.
#[derive(Clone)]
struct Broken {
    /// The file that is wrong: the test file, or the policy.
    file: String,
    why: Why,
}

#[derive(Clone)]
enum Why {
    /// It cannot be read.
    Unreadable(String),
    Mistakes {
        text: String,
        diagnostics: Vec<Diagnostic>,
    },
}

/// What cases made of a policy.
struct Coverage {
    /// The policy's file, as it was first met.
    policy: String,
    /// Every rule, with the line on which it begins.
    rules: Vec<(String, usize)>,
    fired: BTreeSet<String>,
}

struct Session<'a> {
    args: &'a Test,
    /// By where they are in truth: several test files may name one policy in several ways.
    policies: BTreeMap<PathBuf, Result<Ruleset, Broken>>,
    coverage: BTreeMap<PathBuf, Coverage>,
}

pub(super) fn run(args: &Test) -> Result<ExitCode, Failure> {
    let to_stdout = args.junit.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if args.json && to_stdout {
        return Err(Failure::usage(
            "both --json and --junit - write to standard output: name a file for JUnit",
        ));
    }
    let here = [PathBuf::from(".")];
    let files = find::test_files(if args.paths.is_empty() { &here } else { &args.paths })?;
    let mut session = Session { args, policies: BTreeMap::new(), coverage: BTreeMap::new() };
    let mut all = Vec::with_capacity(files.len());
    for file in files {
        let tested = session.test(&file);
        match (args.json, to_stdout) {
            (true, _) => print::json(&tested),
            (false, false) => print::text(&tested),
            (false, true) => {}
        }
        all.push(tested);
    }
    let results = || all.iter().map(|tested| &tested.result);
    let counts = Counts {
        failed: results().flatten().flatten().filter(|case| !case.ran.failures.is_empty()).count(),
        cases: results().flatten().map(Vec::len).sum(),
        broken: results().filter(|result| result.is_err()).count(),
    };
    if let (Some(filter), 0, 0) = (&args.filter, counts.cases, counts.broken) {
        return Err(Failure::usage(format!("no case has a name that contains {filter:?}")));
    }
    if let Some(path) = &args.junit {
        write(path, &junit::xml(&all)?)?;
    }
    // A rule that is not covered by the cases chosen may be by the others.
    let coverage: Vec<_> = match args.filter {
        None => session.coverage.into_values().collect(),
        Some(_) => Vec::new(),
    };
    match (args.json, to_stdout) {
        (true, _) => print::json_summary(&counts, &coverage),
        (false, false) => print::summary(&counts, &coverage),
        (false, true) => {}
    }
    Ok(match counts {
        Counts { broken: 1.., .. } => ExitCode::from(2),
        Counts { failed: 1.., .. } => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    })
}

struct Counts {
    cases: usize,
    failed: usize,
    /// Files whose cases could not be run.
    broken: usize,
}

impl Session<'_> {
    fn test(&mut self, file: &Path) -> Tested {
        let mut tested =
            Tested { file: file.display().to_string(), policy: String::new(), result: Ok(Vec::new()) };
        tested.result = self.run(file, &mut tested.policy);
        tested
    }

    fn run(&mut self, file: &Path, policy_name: &mut String) -> Result<Vec<TestedCase>, Broken> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let text = disk::read(file).map_err(|why| Broken::unreadable(file, why))?;
        let suite = cases::parse(&text, &mut disk::Folder(folder))
            .map_err(|diagnostics| Broken::mistaken(file, text.clone(), diagnostics))?;
        let policy = match (&self.args.policy, suite.policy()) {
            (Some(policy), _) => policy.clone(),
            (None, Some(named)) => folder.join(named),
            (None, None) => find::policy_of(file),
        };
        *policy_name = policy.display().to_string();
        let place = std::fs::canonicalize(&policy).unwrap_or_else(|_| policy.clone());
        let ruleset = self.policies.entry(place.clone()).or_insert_with(|| {
            let text = disk::read(&policy).map_err(|why| Broken::unreadable(&policy, why))?;
            ::policy::load(&text).map_err(|diagnostics| Broken::mistaken(&policy, text, diagnostics))
        });
        let ruleset = ruleset.as_ref().map_err(Broken::clone)?;
        // Another policy may well have other rules: then the cases tell.
        if self.args.policy.is_none() {
            let unknown = suite.unknown_names(ruleset);
            if !unknown.is_empty() {
                return Err(Broken::mistaken(file, text, unknown));
            }
        }
        let coverage = self.coverage.entry(place).or_insert_with(|| Coverage {
            policy: policy_name.clone(),
            rules: ruleset.rules().map(|rule| (rule.id().to_owned(), rule.line())).collect(),
            fired: BTreeSet::new(),
        });
        let chosen =
            |name: &str| self.args.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
        let mut work = Work::default();
        let cases = suite.cases().iter().filter(|case| chosen(case.name())).map(|case| {
            let ran = case.run(ruleset, &mut work);
            coverage.fired.extend(ran.fired.iter().cloned());
            TestedCase { name: case.name().to_owned(), line: case.line(), ran }
        });
        Ok(cases.collect())
    }
}

impl Broken {
    fn unreadable(file: &Path, why: String) -> Self {
        Self { file: file.display().to_string(), why: Why::Unreadable(why) }
    }

    fn mistaken(file: &Path, text: String, diagnostics: Vec<Diagnostic>) -> Self {
        Self { file: file.display().to_string(), why: Why::Mistakes { text, diagnostics } }
    }

    /// What is wrong, for a person, on several lines. Safe to print.
    fn in_words(&self, coloured: bool) -> String {
        match &self.why {
            Why::Unreadable(why) => inert(why),
            Why::Mistakes { text, diagnostics } => in_source(&self.file, text, diagnostics, coloured),
        }
    }

    /// The first of it, on a line.
    fn in_short(&self) -> String {
        match &self.why {
            Why::Unreadable(why) => inert(why),
            Why::Mistakes { diagnostics, .. } => diagnostics.first().map_or_else(String::new, |first| {
                inert(&format!("{}:{}:{}: {}", self.file, first.line, first.column, first.message))
            }),
        }
    }
}

impl TestedCase {
    /// What is wrong, for a person; empty when it passes. Safe to print.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for failure in &self.ran.failures {
            let at = failure.at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
            lines.push(format!("step {}, line {}, {at}, {}:", failure.step, failure.line, failure.what));
            lines.push(failure.message.clone());
            lines.extend(failure.lines.iter().map(|line| format!("  {line}")));
            lines.extend((!failure.why.is_empty()).then(|| "why:".to_owned()));
            lines.extend(failure.why.iter().map(|why| format!("  {why}")));
        }
        lines.iter().map(|line| inert(line)).collect()
    }
}

fn write(path: &Path, xml: &str) -> Result<(), Failure> {
    let written = match path.as_os_str() == "-" {
        true => match std::io::stdout().lock().write_all(xml.as_bytes()) {
            // Nobody reads any more.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        },
        false => std::fs::write(path, xml),
    };
    written.map_err(|error| Failure::usage(format!("{} cannot be written: {error}", path.display())))
}
