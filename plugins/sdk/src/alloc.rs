//! The allocator: dlmalloc on an arena that is part of the module's own memory.
//!
//! `memory.grow` costs the host a system call and a lock that all guests share; a run that fits the arena needs none,
//! and that halves what a short run costs. When the arena is full, memory grows as usual. Pages of the arena that
//! nobody touches are never backed by the host.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;

use dlmalloc::Dlmalloc;

/// Enough for a mission of a few dozen calls with results of some kilobytes.
const ARENA_BYTES: usize = 512 << 10;
const WASM_PAGE_BYTES: usize = 64 << 10;

#[global_allocator]
static ALLOCATOR: Guest = Guest(UnsafeCell::new(Dlmalloc::new_with_allocator(Arena { taken: UnsafeCell::new(false) })));

#[repr(align(16))]
struct Memory(UnsafeCell<[u8; ARENA_BYTES]>);

static MEMORY: Memory = Memory(UnsafeCell::new([0; ARENA_BYTES]));

struct Guest(UnsafeCell<Dlmalloc<Arena>>);

struct Arena {
    taken: UnsafeCell<bool>,
}

#[expect(unsafe_code, reason = "a guest has one thread (the node's engine knows no shared memory)")]
mod one_thread {
    use super::{Arena, Guest, Memory};

    // SAFETY: the world gives a guest one thread, and none of these is reached from a signal or a second stack.
    unsafe impl Sync for Guest {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}
    // SAFETY: as above.
    unsafe impl Send for Arena {}
}

#[expect(unsafe_code, reason = "an allocator hands out raw memory")]
// SAFETY: the arena is handed out once, whole; anything else is fresh memory from `memory.grow`. Nothing is taken back.
unsafe impl dlmalloc::Allocator for Arena {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        // SAFETY: one thread, and no reference to the flag outlives this call.
        let taken = unsafe { &mut *self.taken.get() };
        if !*taken && size <= ARENA_BYTES {
            *taken = true;
            return (MEMORY.0.get().cast(), ARENA_BYTES, 0);
        }
        grow(size.div_ceil(WASM_PAGE_BYTES))
    }

    fn remap(&self, _ptr: *mut u8, _old: usize, _new: usize, _can_move: bool) -> *mut u8 {
        std::ptr::null_mut()
    }

    fn free_part(&self, _ptr: *mut u8, _old: usize, _new: usize) -> bool {
        false
    }

    fn free(&self, _ptr: *mut u8, _size: usize) -> bool {
        false
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        WASM_PAGE_BYTES
    }
}

/// So many fresh pages of linear memory, or null.
fn grow(pages: usize) -> (*mut u8, usize, u32) {
    let before = core::arch::wasm32::memory_grow(0, pages);
    if before == usize::MAX {
        return (std::ptr::null_mut(), 0, 0);
    }
    let base = before * WASM_PAGE_BYTES;
    let bytes = pages * WASM_PAGE_BYTES;
    // The very last bytes of the address space stay unused: a pointer past the end must not wrap to zero.
    let bytes = if base.wrapping_add(bytes) == 0 { bytes - 16 } else { bytes };
    (std::ptr::without_provenance_mut(base), bytes, 0)
}

#[expect(unsafe_code, reason = "an allocator hands out raw memory")]
// SAFETY: dlmalloc keeps the contract of `GlobalAlloc`; there is one thread, and it never allocates while allocating.
unsafe impl GlobalAlloc for Guest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; the caller keeps `GlobalAlloc::alloc`'s contract. So below.
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see `alloc`.
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: see `alloc`.
        unsafe { (*self.0.get()).free(ptr, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: see `alloc`.
        unsafe { (*self.0.get()).realloc(ptr, layout.size(), layout.align(), new_size) }
    }
}
