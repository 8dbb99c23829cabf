//! Where a sub-expression stands.
//!
//! The parser gives each node one token (an operator's own, a call's parenthesis), so a sub-expression reaches from the first
//! to the last token of its parts, and on to the parentheses that these have opened.

use std::ops::Range;

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, SourceInfo, operators as op},
};

use super::MAX_DEPTH;

/// Where `node` stands in `text`, in bytes; `None` where the parser noted no place.
pub(super) fn span(text: &str, positions: &SourceInfo, node: &IdedExpr) -> Option<Range<usize>> {
    let mut tokens = None;
    gather(text, positions, node, 0, &mut tokens);
    let tokens = tokens?;
    let end = tokens.end.min(text.len());
    let tokens = tokens.start.min(end)..end;
    Some(if text.is_char_boundary(tokens.start) && text.is_char_boundary(tokens.end) {
        balance(text, tokens)
    } else {
        0..text.len()
    })
}

fn gather(
    text: &str,
    positions: &SourceInfo,
    node: &IdedExpr,
    depth: usize,
    tokens: &mut Option<Range<usize>>,
) {
    // The last place of a token is the one before its end. A made-up node (a macro's) stands nowhere, or at 0, with no end.
    if let Some((start, last)) = positions.offset_for(node.id)
        && ((start, last) != (0, 0) || can_be_one_character(&node.expr))
    {
        let (mut start, mut end) = (start as usize, last as usize + 1);
        // Of a field there is the dot, of a call the parenthesis: the name is looked for beside them.
        match &node.expr {
            // Of `has(a.b)` there is the parenthesis.
            Expr::Select(select) if select.test => {
                let before = text.get(..start).unwrap_or_default().trim_end();
                start = if before.ends_with("has") { before.len() - 3 } else { start };
            }
            Expr::Select(select) => {
                let after = text.get(end..).unwrap_or_default();
                let blanks = after.len() - after.trim_start().len();
                if after.trim_start().starts_with(&select.field) {
                    end += blanks + select.field.len();
                }
            }
            // The sign belongs to a number that is written out.
            Expr::Literal(LiteralValue::Int(number)) if *number.inner() < 0 => {
                start -= usize::from(text.get(..start).is_some_and(|before| before.ends_with('-')));
            }
            Expr::Call(call) if call.target.is_none() => {
                let before = text.get(..start).unwrap_or_default().trim_end();
                if before.ends_with(&call.func_name) {
                    start = before.len() - call.func_name.len();
                }
            }
            _ => {}
        }
        let known = tokens.clone().unwrap_or(start..end);
        *tokens = Some(known.start.min(start)..known.end.max(end));
    }
    if depth > MAX_DEPTH {
        return;
    }
    let mut part = |node| gather(text, positions, node, depth + 1, tokens);
    match &node.expr {
        Expr::Select(select) => part(&select.operand),
        Expr::Call(call) => {
            call.target.as_deref().into_iter().for_each(&mut part);
            call.args.iter().for_each(part);
        }
        Expr::List(list) => list.elements.iter().for_each(part),
        Expr::Comprehension(each) => {
            part(&each.iter_range);
            if let Expr::Call(step) = &each.loop_step.expr {
                step.args.iter().skip(1).for_each(part);
            }
        }
        _ => {}
    }
}

fn can_be_one_character(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => matches!(call.func_name.as_str(), op::LOGICAL_NOT | op::NEGATE),
        Expr::Ident(name) => name.len() == 1,
        Expr::Literal(_) | Expr::List(_) => true,
        _ => false,
    }
}

/// Widens a span to the brackets that it opens without closing them, or closes without having opened them.
fn balance(text: &str, span: Range<usize>) -> Range<usize> {
    let (mut open, mut unopened) = (0_usize, 0_usize);
    let mut count = |bracket: u8| match bracket {
        b'(' | b'[' => open += 1,
        b')' | b']' if open > 0 => open -= 1,
        b')' | b']' => unopened += 1,
        _ => {}
    };
    outside_quotes(text, span.start, |at, byte| {
        let within = at < span.end;
        if within {
            count(byte);
        }
        within
    });
    let (mut start, mut end) = (span.start, span.end);
    if open > 0 {
        // What is still open is closed after the last token: nothing but blanks and a call's remaining parts lies between.
        let mut left = open;
        outside_quotes(text, span.end, |at, byte| {
            match byte {
                b'(' | b'[' => left += 1,
                b')' | b']' => left -= 1,
                _ => {}
            }
            if left == 0 {
                end = at + 1;
            }
            left > 0
        });
    }
    while unopened > 0 {
        let Some(at) = text[..start].rfind(['(', '[']) else { break };
        start = at;
        unopened -= 1;
    }
    start..end
}

/// Calls `each` for every byte from `from` on that is not within a string, until it returns false.
fn outside_quotes(text: &str, from: usize, mut each: impl FnMut(usize, u8) -> bool) {
    let mut quote: Option<u8> = None;
    let mut escaped = false;
    for (offset, byte) in text.as_bytes()[from..].iter().copied().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(closing) if byte == closing => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
            None => {
                if !each(from + offset, byte) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cel::parser::Parser;

    use super::*;

    fn spans(text: &str) -> Vec<String> {
        let (tree, positions) = Parser::new().parse_with_source_info(text).unwrap();
        let mut spans = Vec::new();
        each(&tree, &mut |node| {
            if let Some(span) = span(text, &positions, node) {
                spans.push(text[span].to_owned());
            }
        });
        spans
    }

    fn each(node: &IdedExpr, visit: &mut impl FnMut(&IdedExpr)) {
        visit(node);
        match &node.expr {
            Expr::Select(select) => each(&select.operand, visit),
            Expr::Call(call) => {
                call.target.as_deref().into_iter().for_each(|part| each(part, visit));
                call.args.iter().for_each(|part| each(part, visit));
            }
            Expr::List(list) => list.elements.iter().for_each(|part| each(part, visit)),
            Expr::Comprehension(it) => {
                each(&it.iter_range, visit);
                if let Expr::Call(step) = &it.loop_step.expr {
                    step.args.iter().skip(1).for_each(|part| each(part, visit));
                }
            }
            _ => {}
        }
    }

    #[test]
    fn a_span_is_what_was_written() {
        for (text, expected) in [
            ("issue.title == 'x'", vec!["issue.title == 'x'", "issue.title", "issue", "'x'"]),
            (
                "!a.b && (c.d || now < e.f)",
                vec![
                    "!a.b && (c.d || now < e.f)",
                    "!a.b",
                    "a.b",
                    "a",
                    "c.d || now < e.f",
                    "c.d",
                    "c",
                    "now < e.f",
                    "now",
                    "e.f",
                    "e",
                ],
            ),
            ("has( a.b ) || c", vec!["has( a.b ) || c", "has( a.b )", "a", "c"]),
            ("size( i.l ) > 1", vec!["size( i.l ) > 1", "size( i.l )", "i.l", "i", "1"]),
            ("i.t.contains(\"a)b\")", vec!["i.t.contains(\"a)b\")", "i.t", "i", "\"a)b\""]),
            ("'ü' in ['ü', \"y\"]", vec!["'ü' in ['ü', \"y\"]", "'ü'", "['ü', \"y\"]", "'ü'", "\"y\""]),
            ("i.l.exists(l, l == 'x')", vec!["i.l.exists(l, l == 'x')", "i.l", "i", "l == 'x'", "l", "'x'"]),
            (
                "(a.b ? c.d : -1) == 2",
                vec!["(a.b ? c.d : -1) == 2", "a.b ? c.d : -1", "a.b", "a", "c.d", "c", "-1", "2"],
            ),
            (
                "((a.b)) - duration('1h')",
                vec!["((a.b)) - duration('1h')", "a.b", "a", "duration('1h')", "'1h'"],
            ),
        ] {
            assert_eq!(spans(text), expected, "{text}");
        }
    }
}
