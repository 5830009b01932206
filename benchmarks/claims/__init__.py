"""The paper's findings at a small scale: trainings, samplings, tables of docs/results.md."""
