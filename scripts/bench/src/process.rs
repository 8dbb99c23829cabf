//! What the kernel tells of processes, in `/proc`.

use std::{fs, time::Duration};

use crate::Result;

/// Length of the ticks in `/proc/PID/stat`, the same on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process (`None`: this one) has taken up to now, user and system, over all its threads.
pub(crate) fn cpu(pid: Option<u32>) -> Result<Duration> {
    // utime and stime.
    ticks(pid, [14, 15])
}

/// CPU time of this process's children that have ended, user and system.
pub(crate) fn cpu_of_children() -> Result<Duration> {
    // cutime and cstime.
    ticks(None, [16, 17])
}

/// The sum of two numbered fields of `/proc/PID/stat`.
fn ticks(pid: Option<u32>, fields: [usize; 2]) -> Result<Duration> {
    let stat = fs::read_to_string(path(pid, "stat"))?;
    // The second field is the program's name in parentheses and may hold anything.
    let told: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let [one, other] = fields.map(|at| told.get(at - 3).and_then(|field| field.parse::<u32>().ok()));
    let ticks = one.zip(other).map(|(one, other)| one + other);
    Ok(TICK * ticks.ok_or("/proc/PID/stat does not look as proc(5) says")?)
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

/// The most resident memory that a process has had, in KiB.
pub(crate) fn peak_resident(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(path(Some(pid), "status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let size =
        line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|size| size.trim().parse().ok());
    Ok(size.ok_or_else(|| format!("/proc/PID/status does not tell {name} has the process ended?"))?)
}

fn path(pid: Option<u32>, file: &str) -> String {
    pid.map_or_else(|| format!("/proc/self/{file}"), |pid| format!("/proc/{pid}/{file}"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_takes_time() {
        assert!(resident(std::process::id()).unwrap() > 100);
        let before = cpu(None).unwrap();
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        assert!(cpu(Some(std::process::id())).unwrap() > before);
    }
}
