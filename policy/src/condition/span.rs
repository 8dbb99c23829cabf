//! Where a sub-expression stands.
//!
//! The parser gives each node one token (an operator's own, a call's parenthesis), so a sub-expression reaches from the first
//! to the last token of its parts, and on to the parentheses that these have opened.

use std::ops::Range;

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, SourceInfo, operators as op},
};

use super::{
    MAX_DEPTH,
    slip::{self, Bracket, Token},
};

/// Tells where the parts of a text stand.
pub(super) struct Places<'t> {
    text: &'t str,
    positions: &'t SourceInfo,
    tokens: Vec<Token<'t>>,
}

impl<'t> Places<'t> {
    pub(super) fn new(text: &'t str, positions: &'t SourceInfo) -> Self {
        Self { text, positions, tokens: slip::tokens(text) }
    }

    /// As it was written.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// Where `node` stands in the text, in bytes; `None` where the parser noted no place.
    pub(super) fn span(&self, node: &IdedExpr) -> Option<Range<usize>> {
        let mut known = None;
        self.gather(node, 0, &mut known);
        let known = known?;
        let end = known.end.min(self.text.len());
        let span = known.start.min(end)..end;
        Some(match self.text.get(span.clone()) {
            Some(_) => self.balance(span),
            None => 0..self.text.len(),
        })
    }

    fn gather(&self, node: &IdedExpr, depth: usize, known: &mut Option<Range<usize>>) {
        // The last place of a token is the one before its end. A made-up node (a macro's) stands nowhere, or at 0, with no end.
        if let Some((start, last)) = self.positions.offset_for(node.id)
            && ((start, last) != (0, 0) || can_be_one_character(&node.expr))
        {
            let (mut start, mut end) = (start as usize, last as usize + 1);
            // Of a field there is the dot, of a call the parenthesis: the name stands beside it.
            let (before, after) = (self.before(start), self.after(end));
            match &node.expr {
                // Of `has(a.b)` there is the parenthesis.
                Expr::Select(select) if select.test => {
                    start = before.filter(|name| name.text == "has").map_or(start, |name| name.start);
                }
                Expr::Select(select) => {
                    end = after.filter(|name| name.text == select.field).map_or(end, |name| name.span().end);
                }
                // The sign belongs to a number that is written out.
                Expr::Literal(LiteralValue::Int(number)) if *number.inner() < 0 => {
                    start = before.filter(|sign| sign.is("-")).map_or(start, |sign| sign.start);
                }
                Expr::Call(call) if call.target.is_none() => {
                    start =
                        before.filter(|name| name.text == call.func_name).map_or(start, |name| name.start);
                }
                _ => {}
            }
            let so_far = known.clone().unwrap_or(start..end);
            *known = Some(so_far.start.min(start)..so_far.end.max(end));
        }
        if depth > MAX_DEPTH {
            return;
        }
        let mut part = |node| self.gather(node, depth + 1, known);
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

    /// The last token that ends at or before a place.
    fn before(&self, at: usize) -> Option<&Token<'t>> {
        self.tokens[..self.tokens.partition_point(|token| token.span().end <= at)].last()
    }

    /// The first token that begins at or after a place.
    fn after(&self, at: usize) -> Option<&Token<'t>> {
        self.tokens[self.tokens.partition_point(|token| token.start < at)..].first()
    }

    /// Widens a span to the brackets that it opens without closing them, or closes without having opened them.
    fn balance(&self, span: Range<usize>) -> Range<usize> {
        let first = self.tokens.partition_point(|token| token.span().end <= span.start);
        let behind = self.tokens.partition_point(|token| token.start < span.end).max(first);
        let (mut open, mut unopened) = (0_usize, 0_usize);
        for token in &self.tokens[first..behind] {
            match token.bracket() {
                Some(Bracket::Opens) => open += 1,
                Some(Bracket::Closes) if open > 0 => open -= 1,
                Some(Bracket::Closes) => unopened += 1,
                None => {}
            }
        }
        // What is still open is closed after the last token: nothing but a call's remaining parts lies between.
        let closing = beyond(open, Bracket::Opens, self.tokens[behind..].iter());
        let opening = beyond(unopened, Bracket::Closes, self.tokens[..first].iter().rev());
        opening.map_or(span.start, |token| token.start)..closing.map_or(span.end, |token| token.span().end)
    }
}

/// The token that brings the last of so many brackets to its counterpart; none where there are none. `more`: what adds one more.
fn beyond<'k, 't: 'k>(
    mut brackets: usize,
    more: Bracket,
    mut tokens: impl Iterator<Item = &'k Token<'t>>,
) -> Option<&'k Token<'t>> {
    if brackets == 0 {
        return None;
    }
    tokens.find(|token| {
        match token.bracket() {
            Some(bracket) if bracket == more => brackets += 1,
            Some(_) => brackets -= 1,
            None => {}
        }
        brackets == 0
    })
}

fn can_be_one_character(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => matches!(call.func_name.as_str(), op::LOGICAL_NOT | op::NEGATE),
        Expr::Ident(name) => name.len() == 1,
        Expr::Literal(_) | Expr::List(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use cel::parser::Parser;

    use super::*;

    fn spans(text: &str) -> Vec<String> {
        let (tree, positions) = Parser::new().parse_with_source_info(text).unwrap();
        let (mut spans, places) = (Vec::new(), Places::new(text, &positions));
        each(&tree, &mut |node| {
            if let Some(span) = places.span(node) {
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
            // Brackets in comments and in texts of every kind are none.
            (
                "!(a // (\n|| b) && c",
                vec!["!(a // (\n|| b) && c", "!(a // (\n|| b)", "a // (\n|| b", "a", "b", "c"],
            ),
            (
                r#"i.t == r"\" && (a || b)"#,
                vec![
                    r#"i.t == r"\" && (a || b)"#,
                    r#"i.t == r"\""#,
                    "i.t",
                    "i",
                    r#"r"\""#,
                    "a || b",
                    "a",
                    "b",
                ],
            ),
            (
                "f('''a'(''') && (a) || b",
                vec![
                    "f('''a'(''') && (a) || b",
                    "f('''a'(''') && (a)",
                    "f('''a'(''')",
                    "'''a'('''",
                    "a",
                    "b",
                ],
            ),
            (
                "size // of (\n ( i . // its\n l ) > - 1",
                vec![
                    "size // of (\n ( i . // its\n l ) > - 1",
                    "size // of (\n ( i . // its\n l )",
                    "i . // its\n l",
                    "i",
                    "- 1",
                ],
            ),
            ("('(' == a) && b", vec!["('(' == a) && b", "'(' == a", "'('", "a", "b"]),
        ] {
            assert_eq!(spans(text), expected, "{text}");
        }
    }
}
