//! Folders (contract 4.2).

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::SearchTerm;

/// A folder to be created.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct CreateFolder {
    /// Its name.
    #[schema(min_length = 1, max_length = 255, example = "pricing")]
    pub name: String,
    /// What is in it.
    pub description: Option<String>,
    /// Its category.
    #[schema(default = "Other")]
    pub category: Option<String>,
    /// A date.
    pub start_date: Option<String>,
    /// A date.
    pub launch_date: Option<String>,
    /// A word.
    #[schema(default = "Design")]
    pub status: Option<String>,
}

/// A created folder; or, when there is one of this name already, `status` `Error`, `errorCode` `PRODUCT_ALREADY_EXISTS` and no data.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct CreatedFolderAnswer {
    /// `Success` or `Error`.
    pub status: String,
    /// The folder.
    pub data: Option<CreatedFolder>,
    /// For people; null when all is well.
    pub message: Option<String>,
    /// For programs; null when all is well.
    pub error_code: Option<String>,
}

/// A created folder.
#[derive(Debug, ToSchema)]
pub struct CreatedFolder {
    /// The folder.
    #[schema(rename = "folderId")]
    pub folder_id: Uuid,
    /// Its name.
    pub name: String,
    /// Where to read it.
    pub get_product_url: String,
}

/// A folder.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct FolderAnswer {
    /// The folder.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its category.
    pub category: String,
    /// What is in it.
    pub description: String,
    /// Where its image is.
    pub cover_image_path: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Always false.
    pub is_starred: bool,
    /// A word.
    pub status: String,
    /// As given.
    #[schema(format = DateTime)]
    pub start_date: String,
    /// As given.
    #[schema(format = DateTime)]
    pub launch_date: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    pub last_modified_date: String,
    /// Always null.
    pub kanban_status: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// How many services it has.
    pub active_service_count: i64,
    /// When one folder is asked for: the first hundred services, as a page.
    pub calculation_engines: Option<Value>,
    /// When one folder is asked for: always empty.
    pub sections: Option<Vec<Value>>,
    /// In lists: how many services it has.
    pub total_service_count: Option<i64>,
}

/// Which folders are wanted.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ListFolders {
    /// By `name`, `id`, `category`, `status` or `isstarred`.
    pub search: Option<Vec<SearchTerm>>,
    /// Counted from 1.
    #[schema(default = 1)]
    pub page: Option<i64>,
    /// At most 1,000.
    #[schema(default = 100)]
    pub page_size: Option<i64>,
    /// `updated` for the oldest change first, else the newest.
    pub sort: Option<String>,
}

/// What is to change of a folder.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct UpdateFolder {
    /// What is in it.
    pub description: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// A word.
    pub status: Option<String>,
    /// A date.
    pub start_date: Option<String>,
    /// A date.
    pub launch_date: Option<String>,
}

/// An image of a folder.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct CoverImage {
    /// The folder, by id or name.
    #[schema(example = "sales")]
    pub id: String,
    /// PNG, JPEG, GIF or WebP.
    #[schema(content_media_type = "application/octet-stream")]
    pub cover_image: String,
}

/// A category of folders.
#[derive(Debug, ToSchema)]
pub struct Category {
    /// Its name.
    pub key: String,
    /// The same.
    pub value: String,
    /// `folder`
    pub icon: String,
}
