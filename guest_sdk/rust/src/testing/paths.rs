//! The fake host's bindings: which paths reach the process.

use std::collections::HashSet;

use crate::contract::raw::http_server::BindError;

type Params = Vec<(String, String)>;

/// Paths, with `:name` for a parameter and `*name` for what is left, and what was said about each.
#[derive(Debug)]
pub(crate) struct Bindings<B> {
    pub bound: Vec<(String, B)>,
}

impl<B> Default for Bindings<B> {
    fn default() -> Self {
        Self { bound: Vec::new() }
    }
}

impl<B: Clone> Bindings<B> {
    /// Bind a path, again if it was bound.
    pub fn bind(&mut self, path: &str, binding: B, has_room: bool) -> Result<(), BindError> {
        if !is_good(path) {
            return Err(BindError::BadPath);
        }
        if let Some(known) = self.bound.iter_mut().find(|(known, _)| known == path) {
            known.1 = binding;
            return Ok(());
        }
        if !has_room {
            return Err(BindError::TooMany);
        }
        self.bound.push((path.into(), binding));
        Ok(())
    }

    pub fn unbind(&mut self, path: &str) {
        self.bound.retain(|(known, _)| known != path);
    }

    /// The bound path that a path is, its binding and its parameters. An exact path goes first, then those with literal
    /// segments further left.
    pub fn find(&self, path: &str) -> Option<(String, B, Params)> {
        let exact = self.bound.iter().find(|(known, _)| known == path);
        if let Some((known, binding)) = exact {
            return Some((known.clone(), binding.clone(), Vec::new()));
        }
        let matching = self.bound.iter().filter_map(|(pattern, binding)| {
            let params = params_of(pattern, path)?;
            Some((pattern.clone(), binding.clone(), params))
        });
        matching.min_by_key(|(pattern, ..)| rank(pattern))
    }
}

fn rank(pattern: &str) -> Vec<u8> {
    let segments = pattern.split('/').map(|segment| match segment.chars().next() {
        Some(':') => 1,
        Some('*') => 2,
        _ => 0,
    });
    segments.chain([3]).collect()
}

fn params_of(pattern: &str, path: &str) -> Option<Params> {
    let mut params = Vec::new();
    let mut given = path.split('/');
    for segment in pattern.split('/') {
        if let Some(name) = segment.strip_prefix('*') {
            let rest: Vec<&str> = given.by_ref().collect();
            if rest.is_empty() || rest == [""] {
                return None;
            }
            if !name.is_empty() {
                params.push((name.into(), rest.join("/")));
            }
            return Some(params);
        }
        let part = given.next()?;
        match segment.strip_prefix(':') {
            Some(name) if !part.is_empty() => params.push((name.into(), part.into())),
            None if part == segment => {}
            _ => return None,
        }
    }
    given.next().is_none().then_some(params)
}

fn is_good(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/').filter(|_| path.len() <= 2048) else {
        return false;
    };
    let segments: Vec<&str> = rest.split('/').collect();
    let names: Vec<&str> = segments.iter().filter_map(|segment| segment.strip_prefix([':', '*'])).collect();
    let named: Vec<&&str> = names.iter().filter(|name| !name.is_empty()).collect();
    let wildcards = segments.iter().filter(|segment| segment.starts_with('*')).count();
    let distinct = named.iter().collect::<HashSet<_>>().len() == named.len();
    distinct && wildcards <= 1 && segments.iter().all(|segment| is_segment(segment))
}

fn is_segment(segment: &str) -> bool {
    if segment == "*" {
        return true;
    }
    if let Some(name) = segment.strip_prefix([':', '*']) {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        return starts_well
            && name.len() <= 64
            && name.chars().all(|each| each.is_ascii_alphanumeric() || each == '_' || each == '-');
    }
    let forbidden = |each: char| matches!(each, '\\' | '*' | '?' | '#') || each.is_ascii_control();
    !matches!(segment, "" | "." | "..") && !segment.contains(forbidden)
}
