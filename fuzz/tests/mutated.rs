//! A short run without a coverage engine: every input of the corpus, changed in a few ways that a seed draws. The engine's run, which
//! finds its way by what it reaches, is scripts/fuzz.sh.
//!
//! `FUZZ_SEED=7 FUZZ_TIMES=100 cargo test --release --test mutated` for another and a longer one. A panic tells target, file and number.

use std::{env, fs, panic, path::Path};

/// The longest input, as in scripts/fuzz.sh.
const MAX_LEN: usize = 32_768;
/// What readers of JSON, YAML, HTTP and dates stumble over.
const WORDS: [&[u8]; 16] = [
    b"\"",
    b"\\u0000",
    b"\xff",
    b"\xe2\x80\xae",
    b"{",
    b"]",
    b"null",
    b"-1",
    b"1e999",
    b"9999-12-31T23:59:59Z",
    b"\r\n",
    b"\r\n0\r\n",
    b"&a *a",
    b": ",
    b"(?:a{99}){99}",
    b"18446744073709551616",
];

/// Draws numbers (xorshift64*): the same from the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

fn change(input: &mut Vec<u8>, other: &[u8], draw: &mut Draw) {
    let at = draw.below(input.len() + 1);
    let end = (at + 1 + draw.below(64)).min(input.len());
    match draw.below(6) {
        0 if at < input.len() => input[at] ^= 1 << draw.below(8),
        1 => drop(input.drain(at..end.max(at))),
        2 => {
            let piece = input[at..end.max(at)].to_vec();
            let times = 1 << draw.below(8);
            input.splice(at..at, piece.repeat(times));
        }
        3 => input.truncate(at),
        4 => {
            let from = draw.below(other.len() + 1);
            let to = (from + draw.below(256)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
        _ => drop(input.splice(at..at, WORDS[draw.below(WORDS.len())].iter().copied())),
    }
    input.truncate(MAX_LEN);
}

#[test]
fn what_is_like_the_corpus_keeps_every_promise() {
    let number = |name: &str, default: u64| env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seed, times) = (number("FUZZ_SEED", 1), number("FUZZ_TIMES", 20));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in fuzz::TARGETS {
        let mut paths: Vec<_> =
            fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let inputs: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        for (index, path) in paths.iter().enumerate() {
            for time in 0..times {
                let mut draw = Draw((seed << 40 | (index as u64) << 20 | time) + 1);
                let mut input = inputs[index].clone();
                for _ in 0..=draw.below(4) {
                    let other = draw.below(inputs.len());
                    change(&mut input, &inputs[other], &mut draw);
                }
                let kept = panic::catch_unwind(|| target(&input));
                assert!(kept.is_ok(), "{name}: {}, seed {seed}, change {time}", path.display());
            }
        }
    }
}
