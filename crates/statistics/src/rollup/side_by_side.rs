//! The rows of all facts as one stream: the facts are added up side by side, a step of each at a time.
//!
//! Invariant: what is made of a pipeline and month comes together, whichever fact it is of, so that its file is written once and few files are open. Of a fact no
//! more is held than the rows of one step, beside those of the step before that are being written.
//!
//! ```text
//!   transactions   p 2026-01   p 2026-01   p 2026-02 ─┐
//!   articles       p 2026-01               p 2026-02 ─┼─> in the order of pipeline and month ─> one commit
//!   payments       p 2026-01               p 2026-02 ─┘
//! ```

use super::sums::{RollupRows, RollupStep};
use super::table;
use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use tillhouse_lake::UnifiedRowStream;
use tillhouse_model::{Error, Result};
use tokio::task::JoinSet;

/// The rows of these makers, with the columns of the table of all levels.
pub(super) fn side_by_side(makers: Vec<RollupRows>) -> Result<UnifiedRowStream> {
    let makers = makers.into_iter().map(MakerAhead::begin);
    let makers: Vec<MakerAhead> = makers.collect::<Result<_>>()?;
    let schema = table::schema();
    let made = stream::try_unfold(makers, |mut makers| async move {
        let made = next_of(&mut makers).await?;
        Ok::<_, Error>(made.map(|made| (made, makers)))
    });
    let rows = made.map_ok(move |made| {
        let schema = schema.clone();
        let rows = made.into_iter();
        stream::iter(rows.map(move |rows| table::widened(&rows, &schema)))
    });
    Ok(rows.try_flatten().boxed())
}

/// The rows of the first step that is under way, by pipeline and month.
async fn next_of(makers: &mut [MakerAhead]) -> Result<Option<Vec<RecordBatch>>> {
    let under_way = makers.iter_mut().filter(|maker| maker.place.is_some());
    match under_way.min_by(|one, other| one.place.cmp(&other.place)) {
        Some(first) => first.take().await.map(Some),
        None => Ok(None),
    }
}

/// A maker of rows that works on its next step while those of the step before are written.
struct MakerAhead {
    /// The steps after the one that is under way.
    steps: std::vec::IntoIter<RollupStep>,
    /// Pipeline and month of the step that is under way; `None` when all are done.
    place: Option<(String, String)>,
    /// The step that is under way. It ends with whoever waits for it.
    making: JoinSet<Result<(RollupRows, Vec<RecordBatch>)>>,
}

impl MakerAhead {
    fn begin(maker: RollupRows) -> Result<Self> {
        let mut begun = Self {
            steps: maker.steps()?.into_iter(),
            place: None,
            making: JoinSet::new(),
        };
        begun.go_on(maker);
        Ok(begun)
    }

    /// Begins the next step.
    fn go_on(&mut self, mut maker: RollupRows) {
        let step = self.steps.next();
        let place = |step: &RollupStep| (step.pipeline.clone(), step.month.clone());
        self.place = step.as_ref().map(place);
        if let Some(step) = step {
            self.making.spawn(async move {
                let made = maker.make(&step).await?;
                Ok((maker, made))
            });
        }
    }

    /// The rows of the step that is under way; the next is begun.
    async fn take(&mut self) -> Result<Vec<RecordBatch>> {
        let failed = || Error::internal("adding up a roll-up failed");
        let made = self.making.join_next().await.ok_or_else(failed)?;
        let (maker, made) = made.map_err(|e| failed().because(e))??;
        self.go_on(maker);
        Ok(made)
    }
}
