//! What the other subcommands printed, and figures as they are written.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Result;

/// All lines, by label.
pub(super) struct Results(BTreeMap<String, Vec<Value>>);

impl Results {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut by_label: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let line: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
            let label =
                line["label"].as_str().ok_or_else(|| format!("a line without label: {line}"))?.to_owned();
            by_label.entry(label).or_default().push(line);
        }
        Ok(Self(by_label))
    }

    pub(super) fn lines(&self, label: &str) -> &[Value] {
        self.0.get(label).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has(&self, label: &str) -> bool {
        !self.lines(label).is_empty()
    }

    /// The median of a figure over the rounds.
    pub(super) fn median(&self, label: &str, figure: &str) -> Option<f64> {
        median(self.lines(label).iter().filter_map(|line| line[figure].as_f64()).collect())
    }

    /// The median over the rounds of one label's figure as a multiple of another's: what slows a whole round down counts little.
    pub(super) fn by_rounds(&self, label: &str, of: &str, figure: &str) -> Option<f64> {
        let ratio = |(one, other): (&Value, &Value)| Some(one[figure].as_f64()? / other[figure].as_f64()?);
        median(self.lines(label).iter().zip(self.lines(of)).filter_map(ratio).collect())
    }

    pub(super) fn sum(&self, label: &str, figure: &str) -> u64 {
        self.lines(label).iter().filter_map(|line| line[figure].as_u64()).sum()
    }

    pub(super) fn text(&self, label: &str, figure: &str) -> Option<&str> {
        self.lines(label).first().and_then(|line| line[figure].as_str())
    }

    /// One figure as a multiple of another.
    pub(super) fn ratio(&self, (label, figure): (&str, &str), (of, by): (&str, &str)) -> Option<f64> {
        Some(self.median(label, figure)? / self.median(of, by)?)
    }
}

fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    match all.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(all[middle]),
        _ => Some((all[middle - 1] + all[middle]) / 2.0),
    }
}

/// Microseconds as milliseconds.
pub(super) fn millis(microseconds: Option<f64>) -> String {
    number(microseconds.map(|us| us / 1000.0), 2)
}

/// KiB as MiB.
pub(super) fn mib(kib: Option<f64>) -> String {
    number(kib.map(|kib| kib / 1024.0), 1)
}

/// A figure with its thousands grouped, or a dash where there is none.
pub(super) fn number(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "–".into() };
    let text = format!("{value:.decimals$}");
    let whole = text.split('.').next().unwrap_or_default().len();
    let mut grouped = String::new();
    for (at, digit) in text.char_indices() {
        if at > 0 && at < whole && (whole - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_each_with_its_own() {
        let lines = r#"
            {"label":"a","n":10}
            {"label":"b","n":5}
            {"label":"a","n":100}
            {"label":"b","n":200}
            {"label":"a","n":3}
            {"label":"b","n":1}
        "#;
        let results = Results::parse(lines).unwrap();
        assert_eq!(results.by_rounds("a", "b", "n"), Some(2.0));
        assert_eq!(results.by_rounds("a", "c", "n"), None);
    }

    #[test]
    fn thousands_are_grouped() {
        let written = [Some(0.5), Some(999.4), Some(1000.0), Some(1234567.25), None, Some(f64::NAN)];
        let written = written.map(|value| number(value, if value == Some(1234567.25) { 1 } else { 0 }));
        assert_eq!(written, ["0", "999", "1,000", "1,234,567.2", "–", "–"]);
    }
}
