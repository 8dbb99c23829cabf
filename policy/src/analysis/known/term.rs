//! What there is to know of a term by itself.

use crate::condition::{expr::Term, field::Type};

/// Null that is written out; in a list of texts that compare without regard to case it is brought to lower case, too.
pub(super) fn is_null(term: &Term) -> bool {
    match term {
        Term::Lower(inner) => is_null(inner),
        term => *term == Term::Null,
    }
}

/// A term that is no literal.
pub(super) fn is_variable(term: &Term) -> bool {
    !is_null(term)
        && !matches!(term, Term::Null | Term::Text(_) | Term::Int(_) | Term::Time(_) | Term::Duration(_))
}

/// A term that is never null when it is no error.
pub(super) fn is_solid(term: &Term) -> bool {
    match term {
        Term::Now | Term::Sum { .. } | Term::Length(_) | Term::Size(_) => true,
        Term::Null => false,
        term => !is_variable(term),
    }
}

/// The type of a term; none for null, and for what can be of any.
pub(super) fn kind(term: &Term) -> Option<Type> {
    match term {
        Term::Field(field) => Some(field.spec().value_type),
        Term::Now | Term::Time(_) => Some(Type::Time),
        Term::Duration(_) => Some(Type::Duration),
        Term::Text(_) | Term::Lower(_) => Some(Type::Text),
        Term::Int(_) | Term::Length(_) | Term::Size(_) => Some(Type::Int),
        Term::Sum { left, right, minus } => match (kind(left)?, kind(right)?) {
            (Type::Time, Type::Time) if *minus => Some(Type::Duration),
            (Type::Duration, Type::Duration) => Some(Type::Duration),
            _ => Some(Type::Time),
        },
        Term::If(parts) => kind(&parts.1).or_else(|| kind(&parts.2)),
        Term::Element(_) | Term::Null => None,
    }
}
