"""All operations, in the order of the documentation: routes, jobs and the OpenAPI document are made of this table."""

from service.endpoints.directions import CREATE_DIRECTION, DELETE_DIRECTION, GET_DIRECTION, LIST_DIRECTIONS
from service.endpoints.edits import EDITS
from service.endpoints.encode import ENCODE, EncodeJob
from service.endpoints.events import EVENTS
from service.endpoints.generations import GENERATIONS
from service.endpoints.inspect import INSPECT
from service.endpoints.interpolate import INTERPOLATE
from service.endpoints.jobs import DELETE_JOB, GET_JOB, GET_RESULT, job_of
from service.endpoints.models import MODEL, MODELS
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
from service.endpoints.variations import VARIATIONS
from service.endpoints.walks import InterpolateJob
from service.http.operation import Operation

JOBS: tuple[tuple[Operation, Operation], ...] = (
    (SAMPLE, job_of(SAMPLE, SampleJob)),
    (INTERPOLATE, job_of(INTERPOLATE, InterpolateJob)),
    (ENCODE, job_of(ENCODE, EncodeJob)),
    (TRANSLATE, job_of(TRANSLATE)),
    (SCORE, job_of(SCORE)),
    (CREATE_REFERENCE, job_of(CREATE_REFERENCE)),
)
"""What also runs as a job, with the operation that submits it."""

OPERATIONS: tuple[Operation, ...] = (
    SAMPLE,
    INTERPOLATE,
    ENCODE,
    TRANSLATE,
    GENERATIONS,
    EDITS,
    VARIATIONS,
    SCORE,
    CREATE_REFERENCE,
    LIST_REFERENCES,
    GET_REFERENCE,
    DOWNLOAD_REFERENCE,
    DELETE_REFERENCE,
    CREATE_DIRECTION,
    LIST_DIRECTIONS,
    GET_DIRECTION,
    DELETE_DIRECTION,
    *(job for _, job in JOBS),
    GET_JOB,
    EVENTS,
    GET_RESULT,
    DELETE_JOB,
    INSPECT,
    MODELS,
    MODEL,
)
