//! Project coordination that reacts by itself: `breakdown --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    breakdown::main()
}
