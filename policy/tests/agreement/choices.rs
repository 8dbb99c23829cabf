//! Choices, read from a list of numbers. At its end everything is the first, simplest choice, so a shorter list and
//! smaller numbers make something simpler.

pub(crate) struct Choices<'a> {
    tape: &'a [u32],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(tape: &'a [u32]) -> Self {
        Self { tape }
    }

    /// A number less than `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let Some((&first, rest)) = self.tape.split_first() else { return 0 };
        self.tape = rest;
        ((u64::from(first) * n as u64) >> 32) as usize
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    pub(crate) fn is_over(&self) -> bool {
        self.tape.is_empty()
    }
}
