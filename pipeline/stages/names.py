"""The stages by name, to be had without what they import."""

EXAMPLE_GEN = "ExampleGen"
TRANSFORM = "Transform"
STATISTICS_GEN = "StatisticsGen"
SCHEMA_GEN = "SchemaGen"
EXAMPLE_VALIDATOR = "ExampleValidator"
TRAINER = "Trainer"
EVALUATOR = "Evaluator"
INFRA_VALIDATOR = "InfraValidator"
PUSHER = "Pusher"

ALWAYS = (
    EXAMPLE_GEN,
    STATISTICS_GEN,
    SCHEMA_GEN,
    EXAMPLE_VALIDATOR,
    TRAINER,
    EVALUATOR,
    INFRA_VALIDATOR,
    PUSHER,
)
"""Those of every run, in order; Transform is one more where it is asked for."""
