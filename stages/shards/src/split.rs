//! Which shards this process reads, when several train on one data set.

/// This process among all processes that run the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// Counted from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// The variables that say so; `None` when there is just one process.
    pub from: Option<(&'static str, &'static str)>,
}

/// The variables of a launcher contradict each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SplitError {
    /// Only one of the two variables is set.
    #[error("{set} is set but {unset} is not: set both, or set split = \"none\" to read every shard")]
    Half {
        /// The one that is set.
        set: &'static str,
        /// The one that is not.
        unset: &'static str,
    },
    /// Not a number.
    #[error("{name} = `{value}` is not a whole number")]
    NotANumber {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The rank is not below the size.
    #[error("{rank_name} = {rank} must be below {size_name} = {size}")]
    OutOfRange {
        /// The variable of the rank.
        rank_name: &'static str,
        /// Its value.
        rank: usize,
        /// The variable of the size.
        size_name: &'static str,
        /// Its value.
        size: usize,
    },
    /// Several processes, none of which knows what the others learn.
    #[error(
        "{rank_name} = {rank}, {size_name} = {size}: a launcher starts {size} processes, but they do not exchange \
         gradients, so that each would train a model of its own on its part of the shards; start one process ({advice}), \
         or set split = \"none\" to read every shard"
    )]
    NoExchange {
        /// The variable of the rank.
        rank_name: &'static str,
        /// Its value.
        rank: usize,
        /// The variable of the size.
        size_name: &'static str,
        /// Its value.
        size: usize,
        /// How this launcher starts one.
        advice: &'static str,
    },
    /// Fewer shards than processes.
    #[error("{shards} shards cannot feed {size} processes: pack at least {size}, or set split = \"none\"")]
    TooFewShards {
        /// How many shards there are.
        shards: usize,
        /// How many processes.
        size: usize,
    },
}

/// torchrun, Slurm, Open MPI's mpirun, that of MPICH and Intel MPI: the variables of rank and size, and how one process
/// is started. The first that is set counts.
///
/// Slurm sets its variables in the script of a job too, where there is one process whatever `--ntasks` says.
const LAUNCHERS: [(&str, &str, &str); 4] = [
    ("RANK", "WORLD_SIZE", "without torchrun"),
    ("SLURM_PROCID", "SLURM_NTASKS", "sbatch or srun with --ntasks=1"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "mpirun -n 1"),
    ("PMI_RANK", "PMI_SIZE", "mpiexec -n 1"),
];

impl Rank {
    /// The only process.
    pub const ALONE: Self = Self { rank: 0, size: 1, from: None };

    /// What the launcher's variables say; [`Rank::ALONE`] when none is set.
    ///
    /// # Errors
    /// [`SplitError`] when only one of a pair is set, or they are not numbers or out of range.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, SplitError> {
        for (rank_name, size_name, _) in LAUNCHERS {
            let number = |name: &'static str, value: String| match value.trim().parse::<usize>() {
                Ok(number) => Ok(number),
                Err(_) => Err(SplitError::NotANumber { name, value }),
            };
            let (rank, size) = match (env(rank_name), env(size_name)) {
                (None, None) => continue,
                // The shell of an allocation (salloc): no task was started yet.
                (None, Some(_)) if size_name == "SLURM_NTASKS" => continue,
                (Some(_), None) => return Err(SplitError::Half { set: rank_name, unset: size_name }),
                (None, Some(_)) => return Err(SplitError::Half { set: size_name, unset: rank_name }),
                (Some(rank), Some(size)) => (number(rank_name, rank)?, number(size_name, size)?),
            };
            if rank >= size {
                return Err(SplitError::OutOfRange { rank_name, rank, size_name, size });
            }
            return Ok(Self { rank, size, from: Some((rank_name, size_name)) });
        }
        Ok(Self::ALONE)
    }

    /// Refuses to be one of several.
    ///
    /// # Errors
    /// [`SplitError::NoExchange`].
    pub fn alone(self) -> Result<Self, SplitError> {
        let Self { rank, size, from: Some((rank_name, size_name)) } = self else { return Ok(self) };
        if size == 1 {
            return Ok(self);
        }
        let advice = LAUNCHERS.iter().find(|(name, ..)| *name == rank_name).map_or("", |(_, _, advice)| advice);
        Err(SplitError::NoExchange { rank_name, rank, size_name, size, advice })
    }

    /// The items of this rank, in order, each with its position in the whole list.
    ///
    /// Every `size`-th item, starting at `rank`: the parts are disjoint, cover all items, and
    /// differ by one item at most. They do not change with the epoch, so that each
    /// process finds its own shards in its cache.
    ///
    /// # Errors
    /// [`SplitError::TooFewShards`] when some rank would get none.
    pub fn share<T>(&self, items: Vec<T>) -> Result<Vec<(usize, T)>, SplitError> {
        if items.len() < self.size {
            return Err(SplitError::TooFewShards { shards: items.len(), size: self.size });
        }
        Ok(items.into_iter().enumerate().skip(self.rank).step_by(self.size).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn env<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn reads_each_launcher_and_prefers_torchrun() {
        let rank = |set: &[(&str, &str)]| Rank::from_env(env(set)).map(|r| (r.rank, r.size));
        assert_eq!(rank(&[]), Ok((0, 1)));
        assert_eq!(rank(&[("RANK", "1"), ("WORLD_SIZE", "4")]), Ok((1, 4)));
        assert_eq!(rank(&[("SLURM_PROCID", "2"), ("SLURM_NTASKS", "3")]), Ok((2, 3)));
        assert_eq!(rank(&[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "2")]), Ok((0, 2)));
        assert_eq!(rank(&[("PMI_RANK", "1"), ("PMI_SIZE", "2")]), Ok((1, 2)));
        assert_eq!(rank(&[("SLURM_NTASKS", "8")]), Ok((0, 1)));
        let both = [("RANK", "1"), ("WORLD_SIZE", "4"), ("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")];
        assert_eq!(rank(&both), Ok((1, 4)));
    }

    /// As in an sbatch script without srun, which would read an eighth of the shards.
    #[test]
    fn several_processes_without_an_exchange_are_an_error() {
        let slurm = Rank::from_env(env(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")])).unwrap();
        let said = slurm.alone().unwrap_err().to_string();
        for part in
            ["SLURM_PROCID = 0, SLURM_NTASKS = 8", "do not exchange gradients", "--ntasks=1", "split = \"none\""]
        {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        let one = Rank::from_env(env(&[("RANK", "0"), ("WORLD_SIZE", "1")])).unwrap();
        assert_eq!((one.alone(), Rank::ALONE.alone()), (Ok(one), Ok(Rank::ALONE)));
    }

    #[test]
    fn half_set_and_senseless_variables_are_errors() {
        let error = |set: &[(&str, &str)]| Rank::from_env(env(set)).unwrap_err().to_string();
        assert!(error(&[("RANK", "1")]).contains("RANK is set but WORLD_SIZE is not"));
        assert!(error(&[("WORLD_SIZE", "1")]).contains("WORLD_SIZE is set but RANK is not"));
        assert!(error(&[("SLURM_PROCID", "1")]).contains("SLURM_NTASKS is not"));
        assert!(error(&[("RANK", "4"), ("WORLD_SIZE", "4")]).contains("RANK = 4 must be below WORLD_SIZE = 4"));
        assert!(error(&[("RANK", "0"), ("WORLD_SIZE", "0")]).contains("must be below"));
        assert!(error(&[("RANK", "-1"), ("WORLD_SIZE", "2")]).contains("`-1` is not a whole number"));
    }

    #[test]
    fn each_shard_goes_to_exactly_one_rank() {
        for size in 1..9 {
            for shards in size..40 {
                let mut all = Vec::new();
                for rank in 0..size {
                    let part = Rank { rank, size, from: None }.share((0..shards).collect()).unwrap();
                    assert!(part.iter().all(|(position, shard)| position == shard));
                    assert!(part.len() == shards / size || part.len() == shards / size + 1);
                    all.extend(part.into_iter().map(|(_, shard)| shard));
                }
                all.sort_unstable();
                assert_eq!(all, (0..shards).collect::<Vec<_>>());
            }
        }
        let error = Rank { rank: 0, size: 3, from: None }.share(vec![(); 2]).unwrap_err();
        assert_eq!(error, SplitError::TooFewShards { shards: 2, size: 3 });
    }
}
