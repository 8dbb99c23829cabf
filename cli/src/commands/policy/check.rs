//! `breakdown policy check`.

use std::{io::stdout, path::PathBuf, process::ExitCode};

use ::policy::{Diagnostic, MAX_DIAGNOSTICS, Ruleset, Severity};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    diagnostics::{in_source, is_coloured, without_source},
    reach,
};
use crate::{
    commands::{inert, inert_json},
    config::Settings,
    policy_file,
};

#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit code: 0 when every file holds; 1 when one has an error, with --deny-warnings also when one has a warning; 2 when one
cannot be read.

Where the configuration (--config, breakdown.toml) has routes and targets, rules whose actions a target would refuse are warned of,
because it has no identity of a person or team that they name, and no default. The last line says whether there were any.

--format json prints one object a line. For each mistake:
  {\"kind\": \"diagnostic\", \"file\", \"severity\": \"error\"|\"warning\", \"line\", \"column\", \"end_line\", \"end_column\", \"message\", \"hint\"}
  Lines and columns count from 1, columns in characters; the end is the column after the last character; hint may be null.
And for each file, after its mistakes:
  {\"kind\": \"summary\", \"file\", \"ok\", \"errors\", \"warnings\", \"rules\", \"hash\", \"targets\", \"unreadable\"}
  ok: false is what makes the exit code 1 or 2. rules and hash (SHA-256 of the text) are null unless the file holds;
  targets: the names of those that were asked whom they would find, [] where the configuration has none, null unless the file holds;
  unreadable says why the file could not be read, else null. At most 100 mistakes of a file are reported.

--format github prints workflow commands, which GitHub shows as annotations of the lines.")]
pub(super) struct Check {
    /// Policy files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// A warning is enough to fail
    #[arg(long)]
    deny_warnings: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person: each mistake in its line
    Human,
    /// One JSON object a line
    Json,
    /// Annotations of a GitHub workflow
    Github,
}

pub(super) fn run(args: &Check, settings: &Settings) -> ExitCode {
    let (mut code, mut gap, mut held) = (0, "", false);
    for path in &args.files {
        let file = Checked::new(path.display().to_string(), policy_file::read(path), settings);
        match args.format {
            Format::Human => gap = file.human(gap, is_coloured(&stdout())),
            Format::Json => file.json(args.deny_warnings, settings),
            Format::Github => file.github(),
        }
        code = code.max(file.code(args.deny_warnings));
        held |= file.ruleset.is_some();
    }
    if held && args.format != Format::Json {
        say!("{}", inert(&whom(settings)));
    }
    ExitCode::from(code)
}

/// Whose targets were asked whom they would find: "no mistakes" says nothing of those that are configured elsewhere.
fn whom(settings: &Settings) -> String {
    let config = settings.config.as_ref().map(|path| path.display());
    match config {
        Some(config) if !settings.targets.is_empty() => {
            let names: Vec<_> = settings.targets.keys().map(String::as_str).collect();
            format!("targets: those of {config} were looked at: {}", names.join(", "))
        }
        Some(config) => format!("targets: {config} has none, so whom they would find was not looked at"),
        None => "targets: there is no configuration, so whom they would find was not looked at (--config)"
            .to_owned(),
    }
}

/// A file and what came of it.
struct Checked {
    name: String,
    text: String,
    /// The rules, unless they are refused.
    ruleset: Option<Ruleset>,
    diagnostics: Vec<Diagnostic>,
    unreadable: Option<String>,
}

impl Checked {
    fn new(name: String, text: Result<String, String>, settings: &Settings) -> Self {
        let checked =
            Self { name, text: String::new(), ruleset: None, diagnostics: Vec::new(), unreadable: None };
        let text = match text {
            Ok(text) => text,
            Err(why) => return Self { unreadable: Some(why), ..checked },
        };
        match ::policy::load(&text) {
            Ok(ruleset) => {
                let mut diagnostics = ruleset.warnings().to_vec();
                diagnostics.extend(reach::warnings(&ruleset, &settings.routes, &settings.targets));
                diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
                diagnostics.truncate(MAX_DIAGNOSTICS);
                Self { text, diagnostics, ruleset: Some(ruleset), ..checked }
            }
            Err(diagnostics) => Self { text, diagnostics, ..checked },
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    fn code(&self, deny_warnings: bool) -> u8 {
        match self.unreadable {
            Some(_) => 2,
            None if self.ruleset.is_none() || (deny_warnings && !self.diagnostics.is_empty()) => 1,
            None => 0,
        }
    }

    /// `gap` separates what is shown from what was printed before; the one for the next file is returned.
    fn human(&self, gap: &str, coloured: bool) -> &'static str {
        if let Some(why) = &self.unreadable {
            let shown = without_source(&self.name, &format!("the file cannot be read: {why}"), coloured);
            say!("{gap}{shown}\n");
            return "";
        }
        if !self.diagnostics.is_empty() {
            say!("{gap}{}\n", in_source(&self.name, &self.text, &self.diagnostics, coloured));
        }
        say!("{}", self.summary());
        "\n"
    }

    fn summary(&self) -> String {
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let mut parts = Vec::new();
        if let Some(ruleset) = &self.ruleset {
            parts.push(count(ruleset.rules().count(), "rule"));
        }
        for (number, word) in [(errors, "error"), (warnings, "warning")] {
            if number > 0 {
                parts.push(count(number, word));
            }
        }
        if self.diagnostics.is_empty() {
            parts.push("no mistakes".to_owned());
        }
        if self.diagnostics.len() >= MAX_DIAGNOSTICS {
            parts.push("and there may be more".to_owned());
        }
        format!("{}: {}", inert(&self.name), parts.join(", "))
    }

    fn json(&self, deny_warnings: bool, settings: &Settings) {
        for diagnostic in &self.diagnostics {
            let Diagnostic { line, column, end_line, end_column, severity, message, hint, .. } = diagnostic;
            print(
                &json!({"kind": "diagnostic", "file": self.name, "severity": severity.as_str(), "line": line,
                "column": column, "end_line": end_line, "end_column": end_column, "message": message, "hint": hint}),
            );
        }
        let ruleset = self.ruleset.as_ref();
        print(&json!({"kind": "summary", "file": self.name, "ok": self.code(deny_warnings) == 0,
            "errors": self.count(Severity::Error), "warnings": self.count(Severity::Warning),
            "rules": ruleset.map(|ruleset| ruleset.rules().count()), "hash": ruleset.map(Ruleset::hash),
            "targets": ruleset.map(|_| settings.targets.keys().collect::<Vec<_>>()), "unreadable": self.unreadable}));
    }

    fn github(&self) {
        let file = property(&self.name);
        if let Some(why) = &self.unreadable {
            say!("::error file={file},title=Policy::{}", data(&format!("the file cannot be read: {why}")));
            return;
        }
        for diagnostic in &self.diagnostics {
            let Diagnostic { line, column, end_line, end_column, severity, message, hint, .. } = diagnostic;
            // GitHub takes columns of one line only.
            let columns = match line == end_line {
                true => format!("col={column},endLine={end_line},endColumn={end_column}"),
                false => format!("endLine={end_line}"),
            };
            let hint = hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            let title = property(&format!("Policy {}", severity.as_str()));
            let said = data(&format!("{message}{hint}"));
            say!("::{} file={file},line={line},{columns},title={title}::{said}", severity.as_str());
        }
        say!("{}", self.summary());
    }
}

fn print(value: &Value) {
    say!("{}", inert_json(value));
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// A workflow command's message: the runner takes `%`, CR and LF for its own.
fn data(text: &str) -> String {
    let lines: Vec<_> = text.replace('%', "%25").split('\n').map(inert).collect();
    lines.join("%0A")
}

/// A workflow command's property, which a colon or comma would end besides.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_command_is_not_broken_by_what_it_says() {
        assert_eq!(data("50%\nhint: a::b\r\u{1b}"), "50%25%0Ahint: a::b\u{FFFD}\u{FFFD}");
        assert_eq!(property("a,b:c%\n"), "a%2Cb%3Ac%25%0A");
    }
}
