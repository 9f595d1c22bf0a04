//! Lists: which part, and in which order (scale-v6 1.7 and 1.8).

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Items before it.
    pub offset: i64,
    /// The most items in it.
    pub limit: i64,
}

/// Something that a list can be sorted by.
pub trait SortField: Copy + 'static {
    /// Every field.
    const ALL: &'static [Self];

    /// Its name in requests.
    fn name(self) -> &'static str;

    /// Its expression in the list's query.
    fn sql(self) -> &'static str;
}

/// One key of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort<F> {
    /// By what.
    pub field: F,
    /// Largest first; what has no value comes first then, else last.
    pub descending: bool,
}

/// What stands behind `ORDER BY`: the keys, or `default` when there are none, and the id, so that pages are stable. Nothing of
/// a request's text is in it.
pub fn order_by<F: SortField>(keys: &[Sort<F>], default: &'static str, id: &'static str) -> String {
    let mut order = String::new();
    for key in keys {
        order.push_str(key.field.sql());
        order.push_str(if key.descending { " DESC, " } else { ", " });
    }
    if keys.is_empty() && default != id {
        order.push_str(default);
        order.push_str(", ");
    }
    order + id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    struct Title;

    impl SortField for Title {
        const ALL: &'static [Self] = &[Self];

        fn name(self) -> &'static str {
            "title"
        }

        fn sql(self) -> &'static str {
            "lower(title)"
        }
    }

    #[test]
    fn the_id_comes_last() {
        let keys = [Sort { field: Title, descending: true }, Sort { field: Title, descending: false }];
        assert_eq!(order_by(&keys, "created", "id"), "lower(title) DESC, lower(title), id");
        assert_eq!(order_by::<Title>(&[], "created", "id"), "created, id");
        assert_eq!(order_by::<Title>(&[], "id", "id"), "id");
    }
}
