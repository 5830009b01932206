"""The paper's findings, repeated small: trainings, samplings, and the tables of docs/results.md."""
