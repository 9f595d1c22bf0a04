//! Names and revisions of recipe types.

use serde_json::json;

use crate::model::recipe::{
    JobTypeRef, RecipeTypeRef, TitleError, recipe_type_name, with_job_type, with_recipe_type,
};

#[test]
fn names_are_made_from_titles() {
    for (title, name) in [
        ("My Recipe", "my-recipe"),
        ("  Two   words_and - more  ", "two-words-and-more"),
        ("Größe (in m²) 2", "gre-in-m-2"),
        ("A title of very many words, too long for a name", "a-title-of-very-many-words-too"),
        ("abcdefghij abcdefghij abcdefg - x", "abcdefghij-abcdefghij-abcdefg"),
        ("Validations", "validations"),
    ] {
        assert_eq!(recipe_type_name(title).as_deref(), Ok(name), "{title}");
    }
    assert_eq!(recipe_type_name(" - ü_ "), Err(TitleError::Empty));
    assert_eq!(recipe_type_name("Validation!"), Err(TitleError::Reserved));
}

#[test]
fn definitions_follow_to_newer_revisions() {
    let job = |version: &str, revision: i64| {
        json!({"node_type": {"node_type": "job", "job_type_name": "j",
        "job_type_version": version, "job_type_revision": revision}})
    };
    let recipe = |revision: i64| {
        json!({"node_type": {"node_type": "recipe", "recipe_type_name": "j",
        "recipe_type_revision": revision}})
    };
    let to_job = |revision| JobTypeRef { name: "j".to_owned(), version: "1".to_owned(), revision };
    let to_recipe = |revision| RecipeTypeRef { name: "j".to_owned(), revision };
    let document = json!({"nodes": {"a": job("1", 1), "b": job("2", 1), "c": job("1", 5), "d": recipe(1)}});
    let expected = json!({"nodes": {"a": job("1", 3), "b": job("2", 1), "c": job("1", 5), "d": recipe(1)}});
    assert_eq!(with_job_type(&document, &to_job(3)), Some(expected));
    let expected = json!({"nodes": {"a": job("1", 1), "b": job("2", 1), "c": job("1", 5), "d": recipe(2)}});
    assert_eq!(with_recipe_type(&document, &to_recipe(2)), Some(expected));
    assert_eq!(with_job_type(&document, &to_job(1)), None);
    assert_eq!(with_recipe_type(&document, &to_recipe(1)), None);
    assert_eq!(with_recipe_type(&json!([]), &to_recipe(2)), None);
}
