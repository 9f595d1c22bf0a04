//! The functions that formulas may use.

/// One function, as the documentation shows it.
#[derive(Debug)]
pub struct FunctionInfo {
    /// The name, upper case.
    pub name: &'static str,
    /// The subject, such as "text" or "date".
    pub category: &'static str,
    /// What it computes, in one sentence.
    pub summary: &'static str,
    /// Fewest arguments.
    pub min: u8,
    /// Most arguments; 255 for any number.
    pub max: u8,
}

/// Every function, sorted by name.
pub fn functions() -> &'static [FunctionInfo] {
    &[]
}
