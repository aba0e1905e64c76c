//! Files, durable: the API of `vfs:distro:sys`. All processes of a package share its drives.
//!
//! The manifest has to request the capability: `request-capabilities = ["vfs:distro:sys"]`. Each call waits for the node's answer.

use std::fmt;

use serde_json::{Value, json};

use crate::errors::SendError;
use crate::modules::{Answer, Refusal, ask, refused};
use crate::system::our;

/// An operation on a file or folder was not carried out, and changed nothing; except that after `Unanswered` it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VfsError {
    /// There is no such file, or no such folder.
    NotFound(String),
    /// There is a file or folder of that name in the way.
    AlreadyExists(String),
    /// The drive `pkg` cannot be changed.
    ReadOnly(String),
    /// The folder has entries.
    NotEmpty(String),
    /// The package would store more than the node allows (`process.drive_bytes`), or a file of `pkg` is too large.
    QuotaExceeded(String),
    /// The node could not read or write it; its log says why.
    NotStored(String),
    /// The path has `..`: a path does not leave its drive.
    BadPath(String),
    /// The content is not UTF-8.
    NotUtf8(String),
    /// Refused otherwise: the path, the node's word for it, and its reason.
    Refused(String, String, String),
    /// The node did not answer, or the process may not ask.
    Unanswered(Box<SendError>),
}

impl fmt::Display for VfsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => write!(f, "{path}: there is none"),
            Self::AlreadyExists(path) => write!(f, "{path}: there is a file or folder of that name in the way"),
            Self::ReadOnly(path) => {
                write!(f, "{path}: the drive pkg has the package's own files, which cannot be changed")
            }
            Self::NotEmpty(path) => write!(f, "{path}: the folder is not empty"),
            Self::QuotaExceeded(path) => write!(f, "{path}: it is more than the node allows: delete files"),
            Self::NotStored(path) => write!(f, "{path}: the node could not read or write it; its log says why"),
            Self::BadPath(path) => write!(f, "{path} has ..: a path does not leave its drive"),
            Self::NotUtf8(path) => write!(f, "{path}: the content is not UTF-8"),
            Self::Refused(path, kind, reason) => {
                write!(f, "{path}: ")?;
                refused(f, kind, reason)
            }
            Self::Unanswered(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for VfsError {}

/// A file or a folder in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// A drive of this package. It is there with its first file; `pkg` has the files that came with the package, to be read.
///
/// A path is `a.txt` or `folder/a.txt`, `""` the drive itself. `..` is refused, so a path from a client cannot leave the
/// drive. A change is made whole or not at all, and is durable once the method returns.
#[derive(Clone, Debug)]
pub struct Drive {
    name: String,
}

impl Drive {
    /// Use a drive; its name is one part of a path, such as `notes`.
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn read(&self, path: &str) -> Result<Vec<u8>, VfsError> {
        Ok(self.ask(path, json!("Read"), None)?.1.unwrap_or_default())
    }

    /// The content of a file in UTF-8.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn read_text(&self, path: &str) -> Result<String, VfsError> {
        String::from_utf8(self.read(path)?).map_err(|_| VfsError::NotUtf8(self.shown(path)))
    }

    /// Replace a file or create it, with the folders that it is in.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<(), VfsError> {
        self.ask(path, json!("Write"), Some(content.as_ref())).map(drop)
    }

    /// Add to the end of a file, or create it. The node writes the whole file again, so append to small ones.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn append(&self, path: &str, content: impl AsRef<[u8]>) -> Result<(), VfsError> {
        match self.ask(path, json!("Append"), Some(content.as_ref())) {
            Err(VfsError::NotFound(_)) => {
                self.ask(path, json!({"OpenFile": {"create": true}}), None)?;
                self.ask(path, json!("Append"), Some(content.as_ref())).map(drop)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Remove a file.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn delete(&self, path: &str) -> Result<(), VfsError> {
        self.ask(path, json!("RemoveFile"), None).map(drop)
    }

    /// Whether there is a file or a folder.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn exists(&self, path: &str) -> Result<bool, VfsError> {
        match self.ask(path, json!("Metadata"), None) {
            Ok(_) => Ok(true),
            Err(VfsError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The bytes of a file; 0 for a folder.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn size(&self, path: &str) -> Result<u64, VfsError> {
        let (answer, _) = self.ask(path, json!("Metadata"), None)?;
        Ok(answer["Metadata"]["len"].as_u64().unwrap_or(0))
    }

    /// What is in a folder, at most 10,000 entries, in the order of their names.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn list(&self, path: &str) -> Result<Vec<Entry>, VfsError> {
        let (answer, _) = self.ask(path, json!("ReadDir"), None)?;
        let entries = answer["ReadDir"].as_array().map_or(&[][..], Vec::as_slice);
        let entry = |each: &Value| {
            let name = each["path"].as_str()?.rsplit('/').next()?.to_owned();
            Some(Entry { name, is_folder: each["file_type"] == "Directory" })
        };
        Ok(entries.iter().filter_map(entry).collect())
    }

    /// Create a folder, and those that it is in; one that is there stays.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn make_folder(&self, path: &str) -> Result<(), VfsError> {
        self.ask(path, json!("CreateDirAll"), None).map(drop)
    }

    /// Remove a folder, with all that is in it only if so wished.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn delete_folder(&self, path: &str, with_content: bool) -> Result<(), VfsError> {
        self.ask(path, json!(if with_content { "RemoveDirAll" } else { "RemoveDir" }), None).map(drop)
    }

    /// Move a file within the drive; a file that is there is replaced.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn rename(&self, path: &str, new_path: &str) -> Result<(), VfsError> {
        self.ask(path, json!({"Rename": {"new_path": self.whole(new_path)?}}), None).map(drop)
    }

    /// Copy a file within the drive; a file that is there is replaced.
    ///
    /// # Errors
    /// See [`VfsError`].
    pub fn copy(&self, path: &str, new_path: &str) -> Result<(), VfsError> {
        self.ask(path, json!({"CopyFile": {"new_path": self.whole(new_path)?}}), None).map(drop)
    }

    fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    fn whole(&self, path: &str) -> Result<String, VfsError> {
        let is_name = !matches!(self.name.as_str(), "" | "." | "..") && !self.name.contains('/');
        if !is_name || path.split('/').any(|part| part == "..") {
            return Err(VfsError::BadPath(self.shown(path)));
        }
        let process = our().process;
        Ok(format!("/{}:{}/{}/{path}", process.package_name, process.publisher_node, self.name))
    }

    fn ask(&self, path: &str, action: Value, blob: Option<&[u8]>) -> Result<Answer, VfsError> {
        let body = json!({"path": self.whole(path)?, "action": action});
        ask("vfs", &body, blob).map_err(|refusal| self.error(path, refusal))
    }

    fn error(&self, path: &str, refusal: Refusal) -> VfsError {
        let path = self.shown(path);
        match refusal {
            Refusal::Unanswered(error) => VfsError::Unanswered(Box::new(error)),
            Refusal::Refused(kind, reason, _) => match kind.as_str() {
                "NotFound" => VfsError::NotFound(path),
                "AlreadyExists" => VfsError::AlreadyExists(path),
                "ReadOnly" => VfsError::ReadOnly(path),
                "NotEmpty" => VfsError::NotEmpty(path),
                "QuotaExceeded" => VfsError::QuotaExceeded(path),
                "IOError" => VfsError::NotStored(path),
                _ => VfsError::Refused(path, kind, reason),
            },
        }
    }
}
