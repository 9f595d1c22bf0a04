//! Which names folders and services may have.

use crate::error::ApiError;

/// Longest name, in bytes.
const LONGEST: usize = 255;

/// A name without the blanks around it; 422 when it could not stand in a locator or a path.
pub fn check_name(text: &str, source_path: &str) -> Result<String, ApiError> {
    let name = text.trim();
    let refuse = |reason: &str| {
        Err(ApiError::unprocessable(
            "INVALID_NAME",
            format!("{name:?} is no name: {reason}"),
            source_path.to_owned(),
        ))
    };
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > LONGEST {
        return refuse("it is longer than 255 bytes");
    }
    if name == "." || name == ".." {
        return refuse("it is a path");
    }
    if name.chars().any(|c| matches!(c, '/' | '\\' | '[' | ']') || c.is_control()) {
        return refuse("it contains a slash, a bracket or a control character");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn names_can_stand_in_locators() {
        assert_eq!(check_name(" My folder-1.x ", "Name").unwrap(), "My folder-1.x");
        assert_eq!(check_name("Äpfel", "Name").unwrap(), "Äpfel");
        for bad in ["", " ", ".", "..", "a/b", "a[1]", "a\\b", "a\nb", "a\0b", &"x".repeat(256)] {
            let error = check_name(bad, "Name").unwrap_err();
            assert_eq!((error.status().as_u16(), error.source_path()), (422, Some("Name")), "{bad:?}");
        }
    }
}
