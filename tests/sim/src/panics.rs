//! Panics within a node's tasks: its runtime catches them, as tokio does, so they are kept here until somebody looks.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

use crate::tools::ON_PURPOSE;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics of this thread are kept instead of printed.
pub(crate) fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !WATCHED.get() {
                return others(info);
            }
            let payload = info.payload();
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            if text == ON_PURPOSE {
                return;
            }
            let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
            FIRST.with_borrow_mut(|first| {
                first.get_or_insert(format!("{text}{}", place.unwrap_or_default()));
            });
        }));
    });
    FIRST.with_borrow_mut(|first| *first = None);
    WATCHED.set(true);
}

/// Panics as the first task did that has, if one has.
pub(crate) fn check() {
    if let Some(text) = first() {
        panic!("{text}");
    }
}

/// What the first panic said.
pub(crate) fn first() -> Option<String> {
    FIRST.with_borrow(Clone::clone)
}

/// No more.
pub(crate) fn forget() {
    WATCHED.set(false);
}
