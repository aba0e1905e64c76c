//! The fake host's `vfs:distro:sys`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kv::{Reply, tagged};

/// Bytes that a file counts besides its name and content.
const OVERHEAD: usize = 128;
const MAX_PATH: usize = 1024;
const PACKAGE_DRIVE: &str = "pkg";

type Path = Vec<String>;
/// The content of each file by its path, drive first, and `None` for each folder.
type Tree = BTreeMap<Path, Option<Vec<u8>>>;

/// Drives of the package.
pub(crate) struct FakeVfs {
    package: String,
    quota: usize,
    files: Tree,
    package_files: Tree,
}

/// The node's word for why not, such as `NotFound`; or a request that is none.
enum No {
    Refused(&'static str),
    Bad(String),
}

use No::{Bad, Refused};

impl FakeVfs {
    pub fn new(package: String, quota: usize) -> Self {
        let package_files = Tree::from([(vec![PACKAGE_DRIVE.into()], None)]);
        Self { package, quota, files: Tree::new(), package_files }
    }

    pub fn add_package_file(&mut self, path: &str, content: Vec<u8>) {
        let parts: Path = [PACKAGE_DRIVE].into_iter().chain(path.split('/')).map(Into::into).collect();
        for count in 1..parts.len() {
            self.package_files.insert(parts[..count].to_vec(), None);
        }
        self.package_files.insert(parts, Some(content));
    }

    /// Answer a request.
    pub fn carry_out(&mut self, body: &[u8], blob: Option<&[u8]>) -> Reply {
        let whole: Value = serde_json::from_slice(body).unwrap_or_default();
        let (value, blob) = match self.act(&whole, blob) {
            Ok(reply) => reply,
            Err(Bad(text)) => (json!({"Err": {"BadRequest": {"error": text}}}), None),
            Err(Refused(word)) => {
                let named = json!({"path": whole["path"], "error": word});
                (json!({"Err": {word: named}}), None)
            }
        };
        (value.to_string().into_bytes(), blob)
    }

    fn act(&mut self, whole: &Value, blob: Option<&[u8]>) -> Result<(Value, Option<Vec<u8>>), No> {
        let text = whole["path"].as_str().ok_or_else(|| Bad("path is missing, or not of type str".into()))?;
        let (action, fields) = tagged(&whole["action"]).map_err(Bad)?;
        let path = self.path(text)?;
        match action {
            "Read" => return Ok((json!("Read"), Some(self.read(&path)?))),
            "ReadDir" => return Ok((json!({"ReadDir": self.entries(&path)?}), None)),
            "Metadata" => {
                let content = self.found(&path)?;
                let kind = if content.is_none() { "Directory" } else { "File" };
                let length = content.as_ref().map_or(0, Vec::len);
                return Ok((json!({"Metadata": {"len": length, "file_type": kind}}), None));
            }
            "CreateDirAll" => self.make_folder(&path)?,
            "OpenFile" => {
                if self.read(&path).is_err() && fields["create"] == true {
                    self.write(&path, Vec::new())?;
                }
                self.read(&path)?;
            }
            "Write" => self.write(&path, blob.ok_or(Refused("BadRequest"))?.to_vec())?,
            "Append" => {
                let content = [self.read(&path)?.as_slice(), blob.ok_or(Refused("BadRequest"))?].concat();
                self.write(&path, content)?;
            }
            "RemoveFile" => self.remove(&path, false, false)?,
            "RemoveDir" => self.remove(&path, true, false)?,
            "RemoveDirAll" => self.remove(&path, true, true)?,
            "Rename" | "CopyFile" => {
                let target = self.path(fields["new_path"].as_str().unwrap_or_default())?;
                self.copy(&path, &target, action == "CopyFile")?;
            }
            other => return Err(Bad(format!("no action is named {other}"))),
        }
        Ok((json!("Ok"), None))
    }

    fn tree(&self, path: &Path) -> &Tree {
        if path[0] == PACKAGE_DRIVE { &self.package_files } else { &self.files }
    }

    fn found(&self, path: &Path) -> Result<&Option<Vec<u8>>, No> {
        self.tree(path).get(path).ok_or(Refused("NotFound"))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, No> {
        self.found(path)?.clone().ok_or(Refused("NotFound"))
    }

    fn entries(&self, path: &Path) -> Result<Vec<Value>, No> {
        if self.found(path)?.is_some() {
            return Err(Refused("NotFound"));
        }
        let inside = self.tree(path).iter().filter(|(each, _)| each.split_last().is_some_and(|(_, rest)| rest == path));
        let entry = |(each, content): (&Path, &Option<Vec<u8>>)| {
            let kind = if content.is_none() { "Directory" } else { "File" };
            json!({"path": format!("{}/{}", self.package, each.join("/")), "file_type": kind})
        };
        Ok(inside.map(entry).collect())
    }

    fn write(&mut self, path: &Path, content: Vec<u8>) -> Result<(), No> {
        if path[0] == PACKAGE_DRIVE {
            return Err(Refused("ReadOnly"));
        }
        if path.len() < 2 || self.files.get(path) == Some(&None) {
            return Err(Refused("AlreadyExists"));
        }
        self.check_room(path, content.len())?;
        self.make_folders(&path[..path.len() - 1])?;
        self.files.insert(path.clone(), Some(content));
        Ok(())
    }

    fn make_folder(&mut self, path: &Path) -> Result<(), No> {
        if path[0] == PACKAGE_DRIVE {
            return if path.len() > 1 { Err(Refused("ReadOnly")) } else { Ok(()) };
        }
        self.check_room(path, 0)?;
        self.make_folders(path)
    }

    fn make_folders(&mut self, path: &[String]) -> Result<(), No> {
        let folders: Vec<Path> = (1..=path.len()).map(|count| path[..count].to_vec()).collect();
        if folders.iter().any(|folder| matches!(self.files.get(folder), Some(Some(_)))) {
            return Err(Refused("AlreadyExists"));
        }
        self.files.extend(folders.into_iter().map(|folder| (folder, None)));
        Ok(())
    }

    fn remove(&mut self, path: &Path, folder: bool, whole: bool) -> Result<(), No> {
        if path[0] == PACKAGE_DRIVE {
            return Err(Refused("ReadOnly"));
        }
        if self.found(path)?.is_none() != folder {
            return Err(Refused("NotFound"));
        }
        let inside = self.files.keys().filter(|each| each.starts_with(path)).count();
        if folder && !whole && inside > 1 {
            return Err(Refused("NotEmpty"));
        }
        self.files.retain(|each, _| !each.starts_with(path));
        Ok(())
    }

    fn copy(&mut self, path: &Path, target: &Path, keep: bool) -> Result<(), No> {
        let content = self.read(path)?;
        if path[0] == PACKAGE_DRIVE {
            return Err(Refused("ReadOnly"));
        }
        let before = self.files.clone();
        let done = if keep { Ok(()) } else { self.remove(path, false, false) };
        let done = done.and_then(|()| self.write(target, content));
        if done.is_err() {
            self.files = before;
        }
        done
    }

    fn check_room(&self, path: &Path, length: usize) -> Result<(), No> {
        let size = |path: &Path, content: &Option<Vec<u8>>| {
            path.join("/").len() + content.as_ref().map_or(0, Vec::len) + OVERHEAD
        };
        let others = self.files.iter().filter(|(each, _)| *each != path);
        let used: usize = others.map(|(each, content)| size(each, content)).sum();
        let folders = path.iter().map(|part| part.len() + OVERHEAD).sum::<usize>() * path.len();
        if used + length + folders > self.quota { Err(Refused("QuotaExceeded")) } else { Ok(()) }
    }

    fn path(&self, text: &str) -> Result<Path, No> {
        if text.chars().count() > MAX_PATH || text.contains(|each: char| each.is_control() || each == '\\') {
            return Err(Bad("a path has at most 1024 characters, printable and no backslashes".into()));
        }
        let mut given = text.split('/').filter(|part| !matches!(*part, "" | "."));
        let first = given.next().unwrap_or_default();
        let mut parts = Path::new();
        for part in given {
            if part != ".." {
                parts.push(part.into());
            } else if parts.pop().is_none() {
                return Err(Bad("a path must not leave the drives of its package".into()));
            }
        }
        if parts.is_empty() || first == ".." {
            return Err(Bad("a path has the form /package:publisher/drive/…".into()));
        }
        if first != self.package { Err(Refused("NoCap")) } else { Ok(parts) }
    }
}
