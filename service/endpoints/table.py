"""All operations, in the order of the documentation, and those that also run as jobs."""

from service.endpoints.inspect import INSPECT
from service.endpoints.interpolate import INTERPOLATE, InterpolateJob
from service.endpoints.jobs import DELETE_JOB, GET_JOB, GET_RESULT, job_of
from service.endpoints.models import MODELS
from service.endpoints.openai import GENERATIONS
from service.endpoints.references import (
    CREATE_REFERENCE,
    DELETE_REFERENCE,
    DOWNLOAD_REFERENCE,
    GET_REFERENCE,
    LIST_REFERENCES,
)
from service.endpoints.sample import SAMPLE, SampleJob
from service.endpoints.score import SCORE
from service.endpoints.translate import TRANSLATE
from service.http.operation import Operation

# What also runs as a job, with the operation that submits it.
SAMPLE_JOB, SCORE_JOB, REFERENCE_JOB = job_of(SAMPLE, SampleJob), job_of(SCORE), job_of(CREATE_REFERENCE)

INTERPOLATE_JOB, TRANSLATE_JOB = job_of(INTERPOLATE, InterpolateJob), job_of(TRANSLATE)

JOBS = (
    (SAMPLE, SAMPLE_JOB),
    (INTERPOLATE, INTERPOLATE_JOB),
    (TRANSLATE, TRANSLATE_JOB),
    (SCORE, SCORE_JOB),
    (CREATE_REFERENCE, REFERENCE_JOB),
)

OPERATIONS: tuple[Operation, ...] = (
    SAMPLE,
    INTERPOLATE,
    TRANSLATE,
    GENERATIONS,
    SCORE,
    CREATE_REFERENCE,
    LIST_REFERENCES,
    GET_REFERENCE,
    DOWNLOAD_REFERENCE,
    DELETE_REFERENCE,
    *(job for _, job in JOBS),
    GET_JOB,
    GET_RESULT,
    DELETE_JOB,
    INSPECT,
    MODELS,
)
