"""Backfills the table orders from its Kafka topic, one day for each logical date.

The task calls `oncesink backfill`. Whatever it did before, and whatever `oncesink run` writes meanwhile,
the rows of the day are afterwards what the events say: so runs may be retried, cleared and repeated.
"""

import json
import os
import subprocess
from datetime import timedelta

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.timetables.interval import CronDataIntervalTimetable

CONFIGURATION = 2  # the exit code of oncesink that no retry mends


@dag(
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    end_date=pendulum.datetime(2025, 1, 10, tz="UTC"),  # leave it out to go on for ever
    catchup=True,
    max_active_runs=2,  # of one table only one is at work; the other waits for it
    default_args={"retries": 3, "retry_delay": timedelta(seconds=10)},
    tags=["oncesink"],
)
def orders_backfill():
    @task
    def backfill(data_interval_start=None, data_interval_end=None):
        done = subprocess.run(
            [
                os.environ.get("ONCESINK", "oncesink"), "backfill", "orders",
                "-c", os.environ["ONCESINK_CONFIG"],
                "--column", "placed_at",
                "--from", data_interval_start.to_iso8601_string(),
                "--to", data_interval_end.to_iso8601_string(),
                "--keep-stage",  # the next day reads only what is new
                "--json",
            ],
            capture_output=True,
            text=True,
        )
        print(done.stderr)
        if done.returncode == CONFIGURATION:
            raise AirflowFailException(done.stderr)
        done.check_returncode()
        return json.loads(done.stdout)

    backfill()


orders_backfill()
