//! Numbers as they are written: `1.10` is not written as `1.1`, and of a whole number beyond 64 bits no digit is lost.

use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Number;
use serde_json::value::RawValue;

/// A number of a JSON text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numeral<'a> {
    /// What it is worth: whole numbers of up to 64 bits, the nearest double otherwise.
    pub(super) value: Number,
    /// How it stands there.
    pub(super) text: &'a str,
}

impl Numeral<'_> {
    /// Whether it is a whole number that is written out and has more than 64 bits: its value is not it, but the double next to it.
    pub(super) fn is_long_integer(&self) -> bool {
        self.value.is_f64() && self.text != "-0" && self.text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
    }
}

impl Serialize for Numeral<'_> {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            // There is one way to write them.
            value if !value.is_f64() => value.serialize(target),
            _ => serde_json::from_str::<&RawValue>(self.text).map_err(S::Error::custom)?.serialize(target),
        }
    }
}

/// The numbers of a text that is JSON, as they are written, in its order.
#[derive(Debug, Clone)]
pub(super) struct Numerals<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Numerals<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Goes behind a text, whose first quotation mark is behind `at` already.
    fn skip_text(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => return,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }
}

impl<'a> Iterator for Numerals<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            let start = self.at;
            self.at += 1;
            match byte {
                b'"' => self.skip_text(),
                b'-' | b'0'..=b'9' => {
                    let is_of_it = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                    self.at += bytes[self.at..].iter().take_while(|byte| is_of_it(byte)).count();
                    return Some(&self.text[start..self.at]);
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_outside_of_texts() {
        let text = r#"{"1": [-0, 1.10,1E+3 ], "a\"2": "3\\", "b": "\\\"4", "c": {"d":5}}"#;
        assert_eq!(Numerals::of(text).collect::<Vec<_>>(), ["-0", "1.10", "1E+3", "5"]);
        for text in ["", "\"", "\"\\", "7"] {
            assert_eq!(Numerals::of(text).count(), usize::from(text == "7"), "{text}");
        }
    }
}
