//! How much work it is to make a pattern ready, counted before any of it is done.
//!
//! What a pattern takes when compiled is bounded, but a small one can be long in the making: without regard to case, every
//! character of a class is looked up, so `(?i)[\u{100}-\u{10ffff}]{0}` is a million steps and then nothing. This goes over the
//! pattern's tree as its translation will, with the most that each class can have in place of the class.
//!
//! A step takes about four nanoseconds; the counts are upper bounds.

use regex_syntax::{
    ast::{self, Ast, ClassSetBinaryOp, ClassSetItem, Flag, FlagsItemKind, Visitor},
    hir::{Class, HirKind, translate::Translator},
};

/// The characters that there are.
const ALL_CHARS: u64 = 0x11_0000;
/// How many characters have another case, at most.
const CASED_CHARS: u64 = 3_000;
/// What a character or an operator takes to be read, translated and put into the compiled form.
const NODE: u64 = 50;
/// What a property of the form `\p{name=value}` takes to be found: of ages, each with all before it.
const PROPERTY: u64 = 60_000;
/// What a range takes where ranges are put in order.
const SORTED_RANGE: u64 = 4;

/// More than `limit`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// The steps that a pattern takes, if there are no more than `limit`. `caseless`: the pattern as a whole is.
pub(super) fn count(text: &str, tree: &Ast, caseless: bool, limit: u64) -> Result<u64, TooMuch> {
    let counting =
        Counting { text, caseless, limit, steps: 0, ranges: 0, classes: Vec::new(), begun: Vec::new() };
    ast::visit(tree, counting)
}

/// The most that a class can have.
#[derive(Debug, Clone, Copy, Default)]
struct Most {
    ranges: u64,
    chars: u64,
}

struct Counting<'t> {
    text: &'t str,
    /// Once it is, it counts as such to the end.
    caseless: bool,
    limit: u64,
    steps: u64,
    /// Of all classes up to here.
    ranges: u64,
    /// Those that are being read, innermost last.
    classes: Vec<Most>,
    /// Where the enclosing parts began: steps and ranges.
    begun: Vec<(u64, u64)>,
}

impl Counting<'_> {
    fn spend(&mut self, steps: u64) -> Result<(), TooMuch> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limit { Err(TooMuch) } else { Ok(()) }
    }

    fn flags(&mut self, flags: &ast::Flags) {
        let sets = |item: &ast::FlagsItem| item.kind == FlagsItemKind::Flag(Flag::CaseInsensitive);
        self.caseless |= flags.items.iter().any(sets);
    }

    /// A class by itself.
    fn class(&mut self, class: Most) -> Result<(), TooMuch> {
        self.ranges += class.ranges;
        self.spend(class.ranges * SORTED_RANGE)
    }

    /// Puts a class into the one that is being read.
    fn union(&mut self, class: Most) -> Result<(), TooMuch> {
        let Some(into) = self.classes.last_mut() else { return Ok(()) };
        into.ranges += class.ranges;
        into.chars = (into.chars + class.chars).min(ALL_CHARS);
        let ranges = into.ranges;
        // A single range is put in its place, which moves those behind it.
        self.spend(if class.ranges > 1 { ranges * SORTED_RANGE } else { 1 + ranges / 16 })
    }

    fn fold(&mut self, class: &mut Most) -> Result<(), TooMuch> {
        if !self.caseless {
            return Ok(());
        }
        self.spend(class.chars)?;
        let cased = class.chars.min(CASED_CHARS);
        class.ranges += cased;
        class.chars = (class.chars + CASED_CHARS).min(ALL_CHARS);
        self.spend(cased * SORTED_RANGE)
    }

    fn fold_and_negate(&mut self, class: &mut Most, negated: bool) -> Result<(), TooMuch> {
        self.fold(class)?;
        if negated {
            *class = Most { ranges: class.ranges + 1, chars: ALL_CHARS };
        }
        self.spend(class.ranges)
    }

    /// Closes the class that is being read.
    fn bracketed(&mut self, it: &ast::ClassBracketed) -> Result<Most, TooMuch> {
        let mut class = self.classes.pop().unwrap_or_default();
        self.fold_and_negate(&mut class, it.negated)?;
        Ok(class)
    }

    fn property(&mut self, it: &ast::ClassUnicode) -> Result<Most, TooMuch> {
        if let ast::ClassUnicodeKind::NamedValue { .. } = it.kind {
            self.spend(PROPERTY)?;
        }
        // As it is written: with regard to case.
        let class = Translator::new().translate(self.text, &Ast::class_unicode(it.clone()));
        let mut class = match class.as_ref().map(regex_syntax::hir::Hir::kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => Most {
                ranges: class.ranges().len() as u64,
                chars: class.ranges().iter().map(|range| range.len() as u64).sum(),
            },
            // One character, none, or a mistake that the translation will tell.
            _ => Most { ranges: 1, chars: 1 },
        };
        // It is copied twice over.
        self.spend(class.ranges * SORTED_RANGE)?;
        if self.caseless && it.is_negated() {
            // What is folded is what is negated afterwards.
            self.fold(&mut Most { ranges: 0, chars: ALL_CHARS.saturating_sub(class.chars) })?;
            class = Most { ranges: class.ranges + CASED_CHARS, chars: ALL_CHARS };
        } else {
            self.fold(&mut class)?;
        }
        Ok(class)
    }
}

fn perl(it: &ast::ClassPerl) -> Most {
    let class = match it.kind {
        ast::ClassPerlKind::Digit => Most { ranges: 80, chars: 1_000 },
        ast::ClassPerlKind::Space => Most { ranges: 12, chars: 30 },
        ast::ClassPerlKind::Word => Most { ranges: 850, chars: 160_000 },
    };
    if it.negated { Most { ranges: class.ranges + 1, chars: ALL_CHARS } } else { class }
}

const ASCII: Most = Most { ranges: 4, chars: 128 };

impl Visitor for Counting<'_> {
    type Output = u64;
    type Err = TooMuch;

    fn finish(self) -> Result<u64, TooMuch> {
        Ok(self.steps)
    }

    fn visit_pre(&mut self, it: &Ast) -> Result<(), TooMuch> {
        self.spend(NODE)?;
        match it {
            Ast::ClassBracketed(_) => self.classes.push(Most::default()),
            Ast::Group(group) => group.flags().into_iter().for_each(|flags| self.flags(flags)),
            Ast::Concat(_) | Ast::Alternation(_) => self.begun.push((self.steps, self.ranges)),
            _ => {}
        }
        Ok(())
    }

    fn visit_post(&mut self, it: &Ast) -> Result<(), TooMuch> {
        match it {
            Ast::Flags(it) => {
                self.flags(&it.flags);
                Ok(())
            }
            // Of a letter all its cases.
            Ast::Literal(_) if self.caseless => self.class(Most { ranges: 4, chars: 4 }),
            Ast::Dot(_) => self.class(Most { ranges: 3, chars: ALL_CHARS }),
            Ast::ClassPerl(it) => self.class(perl(it)),
            Ast::ClassUnicode(it) => {
                let class = self.property(it)?;
                self.class(class)
            }
            Ast::ClassBracketed(it) => {
                let class = self.bracketed(it)?;
                self.class(class)
            }
            Ast::Concat(_) | Ast::Alternation(_) => {
                let (steps, ranges) = self.begun.pop().unwrap_or_default();
                // The parts of a part that is of the same kind become this one's.
                self.spend((self.steps - steps) / NODE)?;
                let ranges = self.ranges - ranges;
                match it {
                    // Alternatives that are classes are put together, one after the other.
                    Ast::Alternation(it) => self.spend(ranges.saturating_mul(it.asts.len() as u64)),
                    // The beginnings of alternatives are compared.
                    _ => self.spend(ranges),
                }
            }
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, it: &ClassSetItem) -> Result<(), TooMuch> {
        self.spend(NODE)?;
        if let ClassSetItem::Bracketed(_) = it {
            self.classes.push(Most::default());
        }
        Ok(())
    }

    fn visit_class_set_item_post(&mut self, it: &ClassSetItem) -> Result<(), TooMuch> {
        match it {
            ClassSetItem::Literal(_) => self.union(Most { ranges: 1, chars: 1 }),
            ClassSetItem::Range(range) => {
                let chars = u64::from(range.end.c).saturating_sub(u64::from(range.start.c)) + 1;
                self.union(Most { ranges: 1, chars })
            }
            ClassSetItem::Ascii(it) => {
                let mut class = ASCII;
                self.fold_and_negate(&mut class, it.negated)?;
                self.union(class)
            }
            ClassSetItem::Unicode(it) => {
                let class = self.property(it)?;
                self.union(class)
            }
            ClassSetItem::Perl(it) => self.union(perl(it)),
            ClassSetItem::Bracketed(it) => {
                let class = self.bracketed(it)?;
                self.union(class)
            }
            ClassSetItem::Empty(_) | ClassSetItem::Union(_) => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), TooMuch> {
        self.classes.push(Most::default());
        self.spend(NODE)
    }

    fn visit_class_set_binary_op_in(&mut self, _: &ClassSetBinaryOp) -> Result<(), TooMuch> {
        self.classes.push(Most::default());
        Ok(())
    }

    fn visit_class_set_binary_op_post(&mut self, _: &ClassSetBinaryOp) -> Result<(), TooMuch> {
        let (mut right, mut left) =
            (self.classes.pop().unwrap_or_default(), self.classes.pop().unwrap_or_default());
        self.fold(&mut right)?;
        self.fold(&mut left)?;
        // Whichever it is, no more than both have; a symmetric difference is three operations.
        let both =
            Most { ranges: left.ranges + right.ranges, chars: (left.chars + right.chars).min(ALL_CHARS) };
        self.spend(both.ranges * 2 * SORTED_RANGE)?;
        self.union(both)
    }
}

#[cfg(test)]
mod tests {
    use regex_syntax::ast::parse::Parser;

    use super::*;

    fn steps(text: &str) -> u64 {
        count(text, &Parser::new().parse(text).unwrap(), false, u64::MAX).unwrap()
    }

    #[test]
    fn what_translation_does_is_counted() {
        // A class's characters are looked up where case does not count, whether it is used or not.
        assert!(steps(r"(?i)[\x{100}-\x{10ffff}]") > 1_000_000);
        assert!(steps(r"(?i)(?:[\x{100}-\x{10ffff}]){0}") > 1_000_000);
        assert!(steps(r"(?i:[\x{100}-\x{10ffff}])") > 1_000_000);
        assert!(steps(r"[\x{100}-\x{10ffff}]") < 1_000);
        assert!(steps(r"(?i)\p{any}") > 1_000_000);
        assert!(steps(r"(?i)\P{Greek}") < 100_000);
        assert!(steps(r"(?i)[^a-z]") < 2_000);
        assert!(steps(r"(?i)[[^a-z]]") > 1_000_000);
        assert!(steps(r"(?i)[a&&[^b]]") > 1_000_000);
        assert!(steps(r"(?i)[\w-]+") > 100_000);
        assert!(steps(r"(?i)\w+") < 10_000);
        // Ages are put together from all before.
        assert!(steps(r"\p{age=16.0}") > PROPERTY);
        // Each alternative that is a class is put in order with all before it.
        let alternatives = |n: usize| steps(&format!("(?:{}x)", "[ab]|".repeat(n)));
        assert!(alternatives(400) > 3 * alternatives(200));
        assert!(steps("^(fix|feat|docs)(\\(\\w+\\))?: ") < 10_000);
    }

    #[test]
    fn counting_ends_at_the_limit() {
        let text = r"\p{age=16.0}".repeat(10_000);
        let tree = Parser::new().parse(&text).unwrap();
        assert_eq!(count(&text, &tree, false, 1_000_000), Err(TooMuch));
    }

    #[test]
    fn no_class_has_more_than_is_counted() {
        for (text, class) in [
            (r"\w", ast::ClassPerlKind::Word),
            (r"\d", ast::ClassPerlKind::Digit),
            (r"\s", ast::ClassPerlKind::Space),
        ] {
            let most = perl(&ast::ClassPerl {
                span: ast::Span::splat(ast::Position::new(0, 1, 1)),
                kind: class,
                negated: false,
            });
            let hir = regex_syntax::parse(text).unwrap();
            let HirKind::Class(Class::Unicode(class)) = hir.kind() else { panic!("{text}") };
            assert!(class.ranges().len() as u64 <= most.ranges, "{text}");
            let chars: u64 = class.ranges().iter().map(|range| range.len() as u64).sum();
            assert!(chars <= most.chars, "{text}: {chars}");
        }
    }
}
