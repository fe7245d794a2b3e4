//! Everything that was read for one command: the pipeline's file with its further documents, and the files of `--entities`.

use std::path::{Path, PathBuf};

use pipeline::model::{self, Entities, Options, Pipeline, SecretValue};
use syntax::{Diagnostic, SourceId, Sources, Span};

use crate::problem::Problem;
use crate::texts;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// Every text.
    pub(crate) sources: Sources,
    /// The pipeline's text first, then those of the entities.
    pub(crate) ids: Vec<SourceId>,
    /// The pipeline.
    pub(crate) pipeline: Option<Pipeline>,
    /// Connectors, secrets and the like.
    pub(crate) entities: Entities,
    /// What is wrong, in the order of the texts.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Documents {
    /// Reads the pipeline's file and the directories of entities.
    pub(crate) fn read(pipeline: &Path, entities: &[PathBuf]) -> Result<Self, Problem> {
        let mut documents = Self::default();
        documents.file(pipeline)?;
        let main = std::fs::canonicalize(pipeline).ok();
        for dir in entities {
            for file in texts::yaml_files(dir)? {
                // The pipeline may lie among its entities, with other ones.
                if std::fs::canonicalize(&file).ok() != main && !holds_pipeline(&file) {
                    documents.file(&file)?;
                }
            }
        }
        documents.load();
        Ok(documents)
    }

    /// Reads texts that are known already.
    pub(crate) fn of(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut documents = Self::default();
        for (name, text) in texts {
            let id = documents.sources.add(name, text);
            documents.ids.push(id);
        }
        documents.load();
        documents
    }

    fn file(&mut self, path: &Path) -> Result<(), Problem> {
        match texts::read(path, &mut self.sources)? {
            Ok(id) => self.ids.push(id),
            Err(diagnostic) => self.diagnostics.push(diagnostic),
        }
        Ok(())
    }

    fn load(&mut self) {
        let loaded = model::read(&self.sources, self.ids.iter().copied(), Options::default());
        self.pipeline = loaded.pipeline;
        self.entities = loaded.entities;
        self.diagnostics.extend(loaded.diagnostics);
        syntax::diagnostic::sort(&mut self.diagnostics);
    }

    /// Tells the warnings; errors end the command.
    pub(crate) fn pipeline(&self) -> Result<&Pipeline, Problem> {
        texts::tell(&self.diagnostics, &self.sources);
        let errors = self.diagnostics.iter().filter(|d| d.is_error()).count();
        if errors > 0 {
            let count = crate::screen::words::count(errors as u64, "error");
            return Err(Problem::invalid(format!("{count}; nothing was run"))
                .help("`stepyard explain CODE` tells more of each"));
        }
        let name = self
            .ids
            .first()
            .map_or("the file", |id| self.sources.get(*id).name());
        self.pipeline.as_ref().ok_or_else(|| {
            Problem::invalid(format!("{name} holds no pipeline")).help("its root is `pipeline:`")
        })
    }

    /// Where values of secrets stand: they are left out of what is stored.
    pub(crate) fn redact(&self) -> Vec<Span> {
        let secrets = self.entities.secrets.iter();
        secrets
            .filter_map(|secret| match &secret.value {
                SecretValue::Inline(value) => Some(value.span),
                _ => None,
            })
            .collect()
    }
}

/// A file of another pipeline beside the entities; it is none of them.
fn holds_pipeline(path: &Path) -> bool {
    std::fs::read_to_string(path)
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("pipeline:")))
}
