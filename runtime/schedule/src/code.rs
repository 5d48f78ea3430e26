//! The stable codes of the mistakes that only a schedule can have. Codes are only added; those of every document are
//! `sortie_contract::mistake::code`.

/// The text is not TOML.
pub const NOT_TOML: &str = "not_toml";
/// A key that a schedule does not have: what is silently ignored is not done.
pub const UNKNOWN_KEY: &str = "unknown_key";
/// An expression that is none of crontab's.
pub const INVALID_EXPRESSION: &str = "invalid_expression";
/// It never fires, or never again.
pub const NEVER_FIRES: &str = "never_fires";
/// It fires more often than once a minute.
pub const TOO_FREQUENT: &str = "too_frequent";
/// No zone of that name.
pub const UNKNOWN_ZONE: &str = "unknown_zone";
/// Not a duration.
pub const INVALID_DURATION: &str = "invalid_duration";
/// A window that is longer than the time between two fires, where every fire waits for its turn.
pub const WINDOW_TOO_LONG: &str = "window_too_long";
/// Not a date, a range of dates or the name of a calendar.
pub const INVALID_EXCLUSION: &str = "invalid_exclusion";
/// A calendar that nobody handed over.
pub const UNKNOWN_CALENDAR: &str = "unknown_calendar";
/// Text that is no iCalendar, or says more than can be kept.
pub const INVALID_CALENDAR: &str = "invalid_calendar";
/// A text that is no template, or names what is not there.
pub const INVALID_TEMPLATE: &str = "invalid_template";
/// Not opening hours.
pub const INVALID_HOURS: &str = "invalid_hours";
