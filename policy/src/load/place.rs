//! From a place in a scalar's value to its place in the file.

use serde_saphyr::Spanned;

use super::yaml::{Node, place};

/// Line and column in the file of byte `offset` of a scalar's value.
///
/// Exact where the file holds the value as it is: on one line, with or without quotes, or in a literal block (`|`). A value that
/// the file writes otherwise (escapes, folded lines) is placed at its beginning.
pub(super) fn place_in(file: &str, node: &Spanned<Node>, value: &str, offset: usize) -> (usize, usize) {
    let start = place(node);
    let Some(before) = value.get(..offset) else { return start };
    let Some(raw) = node.defined.span().byte_offset().and_then(|at| file.get(usize::try_from(at).ok()?..))
    else {
        return start;
    };
    // An alias stands elsewhere than the text that it repeats.
    if node.referenced != node.defined {
        return start;
    }
    if raw.starts_with(['|', '>']) {
        return place_in_block(raw, value, before, start);
    }
    let quote = usize::from(raw.starts_with(['"', '\'']));
    if !before.contains('\n') && raw.get(quote..).is_some_and(|raw| raw.starts_with(value)) {
        return (start.0, start.1 + quote + before.chars().count());
    }
    start
}

fn place_in_block(raw: &str, value: &str, before: &str, start: (usize, usize)) -> (usize, usize) {
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let (Some(written), Some(meant)) = (raw.lines().nth(line + 1), value.lines().nth(line)) else {
        return start;
    };
    match written.strip_suffix(meant) {
        // Indentation is blanks, one byte each.
        Some(indent) if indent.bytes().all(|b| b == b' ') => (start.0 + line + 1, indent.len() + column + 1),
        _ => start,
    }
}
