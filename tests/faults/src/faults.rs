//! Faults below a program that is under test, for `LD_PRELOAD`: another time of day, an hour gone by, a disk that is full,
//! read-only or stuck.
//!
//! It exports functions of the C library's names and passes on to the real ones, changed as a file says that whoever tests
//! writes to (`SORTIE_FAULTS` names it; its layout is [`Control`]). Without the variable it changes nothing. The disk's faults
//! strike below the folder that `SORTIE_FAULTS_BELOW` names.
//!
//! It reaches what goes through the C library, as the standard library and redb do: clocks, the journal and its mark, artifacts,
//! the token, what is written to open files. It does not reach what makes system calls by itself, as rustix and so cap-std do:
//! making, moving and removing files of workspaces. For Linux with glibc on 64 bits; elsewhere it is empty.

#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#![expect(unsafe_code, reason = "it stands in for functions of the C library")]

use std::ffi::CStr;
use std::io::Write as _;
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicUsize, Ordering::Relaxed};

use libc::{c_char, c_int, c_long, c_uint, c_void, clockid_t, mode_t, off64_t, size_t, ssize_t, timespec};

/// What the control file holds: numbers in the machine's own byte order, that may change at any moment.
#[repr(C)]
struct Control {
    /// How far the wall clock is ahead, in nanoseconds; less than zero where it was set back.
    wall_ahead_ns: AtomicI64,
    /// How far the steady clocks are ahead, in nanoseconds.
    steady_ahead_ns: AtomicI64,
    /// How the disk is: well (0), [`FULL`], [`READ_ONLY`], [`STUCK`] or [`HELD`].
    disk: AtomicI64,
}

const FULL: i64 = 1;
const READ_ONLY: i64 = 2;
/// Nothing gets to it, for as long as it is so, and nothing fails.
const STUCK: i64 = 3;
/// The same, and nothing is read from it.
const HELD: i64 = 4;

/// How often it is looked whether a stuck disk goes on.
const STUCK_LOOK_US: c_uint = 10_000;

/// The mapped control file; null before it is there, and where none is named.
static CONTROL: AtomicPtr<Control> = AtomicPtr::new(null_mut());

/// The folder that the disk's faults strike, as the environment holds it.
static BELOW: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// Runs before `main`.
#[used]
// SAFETY: the loader calls what this section holds once, with the C library set up and no other thread there.
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    // SAFETY: no other thread is there that could change the environment; the names end with a zero byte. The pointers stay
    // good: nothing below changes these variables.
    let (file, below) =
        unsafe { (libc::getenv(c"SORTIE_FAULTS".as_ptr()), libc::getenv(c"SORTIE_FAULTS_BELOW".as_ptr())) };
    if file.is_null() {
        return;
    }
    BELOW.store(below, Relaxed);
    // SAFETY: `file` is a C string; the mapping is of the file that was just opened and lies where the kernel wants it.
    let mapped = unsafe {
        let fd = libc::open(file, libc::O_RDONLY | libc::O_CLOEXEC);
        libc::mmap(null_mut(), size_of::<Control>(), libc::PROT_READ, libc::MAP_SHARED, fd, 0)
    };
    if mapped == libc::MAP_FAILED {
        eprintln!("sortie-faults: SORTIE_FAULTS names no file that can be mapped");
        std::process::abort();
    }
    CONTROL.store(mapped.cast(), Relaxed);
}

fn control() -> Option<&'static Control> {
    // SAFETY: null, or a mapping of at least this size that is never taken away; its fields may change at any moment and are
    // atomic.
    unsafe { CONTROL.load(Relaxed).as_ref() }
}

/// The C library's own function of that name, as a pointer of type `$kind`.
macro_rules! real {
    ($name:ident as $kind:ty) => {{
        static FOUND: AtomicUsize = AtomicUsize::new(0);
        let mut found = FOUND.load(Relaxed);
        if found == 0 {
            let name: &CStr = const { c_name(concat!(stringify!($name), "\0")) };
            // SAFETY: `name` is a C string.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
            assert!(found != 0, "the C library has this function");
            FOUND.store(found, Relaxed);
        }
        // SAFETY: the C library's function of this name has this type.
        unsafe { transmute::<usize, $kind>(found) }
    }};
}

const fn c_name(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("it ends with a zero byte"),
    }
}

// ---- Clocks

/// How far this clock is ahead, in nanoseconds.
fn ahead_ns(control: &Control, clock: clockid_t) -> i64 {
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => control.wall_ahead_ns.load(Relaxed),
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_MONOTONIC_RAW | libc::CLOCK_BOOTTIME => {
            control.steady_ahead_ns.load(Relaxed)
        }
        _ => 0,
    }
}

const SECOND_NS: i64 = 1_000_000_000;

fn shifted(time: timespec, by_ns: i64) -> timespec {
    let nanos = time.tv_nsec + by_ns % SECOND_NS;
    timespec {
        tv_sec: time.tv_sec + by_ns / SECOND_NS + nanos.div_euclid(SECOND_NS),
        tv_nsec: nanos.rem_euclid(SECOND_NS),
    }
}

/// What time it is.
///
/// # Safety
/// As the C library's.
// SAFETY: it is this function that the name is to lead to; it has its type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let real = real!(clock_gettime as unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int);
    // SAFETY: the caller's arguments.
    let answer = unsafe { real(clock, time) };
    if let (0, Some(control)) = (answer, control()) {
        // SAFETY: the real function has just written there.
        unsafe { *time = shifted(*time, ahead_ns(control, clock)) };
    }
    answer
}

/// System calls that the standard library makes by number. To wait until a moment of a shifted clock is to wait for that moment of
/// the real one; `until` is that moment in the one call that is looked at.
///
/// # Safety
/// As the C library's.
// SAFETY: it is this function that the name is to lead to. The C library's takes as many arguments as a call has: here those
// that were not given hold anything, and are passed on for a kernel that does not look at them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    until: *const timespec,
    e: c_long,
    f: c_long,
) -> c_long {
    let real = real!(syscall as unsafe extern "C" fn(c_long, ...) -> c_long);
    let flags = c_long::from(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    let waits = number == libc::SYS_futex && b & !flags == c_long::from(libc::FUTEX_WAIT_BITSET) && !until.is_null();
    let Some(control) = control().filter(|_| waits) else {
        // SAFETY: the caller's arguments.
        return unsafe { real(number, a, b, c, until, e, f) };
    };
    let is_wall = b & c_long::from(libc::FUTEX_CLOCK_REALTIME) != 0;
    let clock = if is_wall { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
    // SAFETY: the caller's moment; that there is one was just seen.
    let until = shifted(unsafe { *until }, -ahead_ns(control, clock));
    // SAFETY: the caller's arguments, but for the moment, which outlives the call.
    unsafe { real(number, a, b, c, &raw const until, e, f) }
}

// ---- The disk

/// What may be struck by a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// Takes up room.
    Fill,
    /// Changes something, and may need no room.
    Change,
    /// The same, and waits for the disk.
    Sync,
    /// Reads.
    Look,
}

/// The error that this comes to, as the disk is.
fn fault(deed: Deed, is_struck: impl FnOnce(&CStr) -> bool) -> Option<c_int> {
    let disk = &control()?.disk;
    let error = match (disk.load(Relaxed), deed) {
        (FULL, Deed::Fill) => Some(libc::ENOSPC),
        (READ_ONLY, Deed::Fill | Deed::Change | Deed::Sync) => Some(libc::EROFS),
        (STUCK | HELD, Deed::Sync) | (HELD, Deed::Look) => None,
        _ => return None,
    };
    let below = BELOW.load(Relaxed);
    // SAFETY: null, or a string of the environment.
    let below = (!below.is_null()).then(|| unsafe { CStr::from_ptr(below) })?;
    if !is_struck(below) {
        return None;
    }
    while error.is_none() && matches!(disk.load(Relaxed), STUCK | HELD) {
        // SAFETY: it only waits.
        unsafe { libc::usleep(STUCK_LOOK_US) };
    }
    error
}

/// Whether a path is the folder's or lies below it.
fn is_below(path: &[u8], folder: &CStr) -> bool {
    path.strip_prefix(folder.to_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// Whether the open file lies below the folder.
fn is_file_below(fd: c_int, folder: &CStr) -> bool {
    // Nothing is allocated: a caller may be anywhere.
    let (mut link, mut path) = ([0_u8; 32], [0_u8; libc::PATH_MAX as usize]);
    let written = write!(&mut link[..], "/proc/self/fd/{fd}\0");
    // SAFETY: `link` ends with a zero byte, and `path` has room for as much as is asked for.
    let len = unsafe { libc::readlink(link.as_ptr().cast(), path.as_mut_ptr().cast(), path.len()) };
    written.is_ok() && usize::try_from(len).is_ok_and(|len| is_below(&path[..len], folder))
}

/// # Safety
/// A C string.
unsafe fn is_path_below(path: *const c_char, folder: &CStr) -> bool {
    // SAFETY: the caller's promise.
    is_below(unsafe { CStr::from_ptr(path) }.to_bytes(), folder)
}

/// Says why a call failed, as the C library does.
fn because(error: c_int) {
    // SAFETY: the calling thread's own variable.
    unsafe { *libc::__errno_location() = error };
}

/// Functions of the C library that do something to an open file, their first argument: struck, or passed on.
macro_rules! of_files {
    ($($name:ident ( $($argument:ident : $kind:ty),* ) -> $answer:ty, $deed:ident;)*) => {$(
        /// As the C library's, on a disk that may be ill.
        ///
        /// # Safety
        /// As the C library's.
        // SAFETY: it is this function that the name is to lead to; it has its type.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int $(, $argument: $kind)*) -> $answer {
            if let Some(error) = fault(Deed::$deed, |folder| is_file_below(fd, folder)) {
                because(error);
                return -1;
            }
            let real = real!($name as unsafe extern "C" fn(c_int $(, $kind)*) -> $answer);
            // SAFETY: the caller's arguments.
            unsafe { real(fd $(, $argument)*) }
        }
    )*};
}

of_files! {
    write(bytes: *const c_void, len: size_t) -> ssize_t, Fill;
    pwrite(bytes: *const c_void, len: size_t, at: off64_t) -> ssize_t, Fill;
    pwrite64(bytes: *const c_void, len: size_t, at: off64_t) -> ssize_t, Fill;
    ftruncate(len: off64_t) -> c_int, Change;
    ftruncate64(len: off64_t) -> c_int, Change;
    fsync() -> c_int, Sync;
    fdatasync() -> c_int, Sync;
    read(bytes: *mut c_void, len: size_t) -> ssize_t, Look;
}

/// The same, of functions whose first argument is a path.
macro_rules! of_paths {
    ($($name:ident ( $($argument:ident : $kind:ty),* );)*) => {$(
        /// As the C library's, on a disk that may be ill.
        ///
        /// # Safety
        /// As the C library's.
        // SAFETY: it is this function that the name is to lead to; it has its type.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: *const c_char $(, $argument: $kind)*) -> c_int {
            // SAFETY: the caller's path.
            if let Some(error) = fault(Deed::Change, |folder| unsafe { is_path_below(path, folder) }) {
                because(error);
                return -1;
            }
            let real = real!($name as unsafe extern "C" fn(*const c_char $(, $kind)*) -> c_int);
            // SAFETY: the caller's arguments.
            unsafe { real(path $(, $argument)*) }
        }
    )*};
}

of_paths! {
    mkdir(mode: mode_t);
    rename(to: *const c_char);
    unlink();
}

/// Opens a file: one that is to be changed cannot be opened on a disk that is read-only.
///
/// # Safety
/// As the C library's.
// SAFETY: it is this function that the name is to lead to. The C library's takes a mode only where a file may be made: here one
// that was not given holds anything, and is passed on for a kernel that does not look at it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let changes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    // SAFETY: the caller's path.
    if let Some(error) = fault(Deed::Change, |folder| changes && unsafe { is_path_below(path, folder) }) {
        because(error);
        return -1;
    }
    let real = real!(open64 as unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int);
    // SAFETY: the caller's arguments.
    unsafe { real(path, flags, mode) }
}
