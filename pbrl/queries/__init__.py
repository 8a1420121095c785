"""Queries: which pairs of segments to ask about, when, and who answers."""

from pbrl.queries.samplers import SAMPLERS, QuerySampler, Sampler, SamplerConfig, make_sampler
from pbrl.queries.schedules import FeedbackSchedule, ScheduleConfig
from pbrl.queries.simulated import TEACHERS, SimulatedTeacher, TeacherConfig
from pbrl.queries.teachers import CallableTeacher, MixtureTeacher, Teacher, make_teacher

__all__ = [
    "SAMPLERS",
    "TEACHERS",
    "CallableTeacher",
    "FeedbackSchedule",
    "MixtureTeacher",
    "QuerySampler",
    "Sampler",
    "SamplerConfig",
    "ScheduleConfig",
    "SimulatedTeacher",
    "Teacher",
    "TeacherConfig",
    "make_sampler",
    "make_teacher",
]
