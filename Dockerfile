# One image for every Milepost process; docker-compose.yml says which command each container runs.
FROM python:3.11-slim
WORKDIR /opt/milepost
COPY pyproject.toml constraints.txt README.md ./
COPY api ./api
COPY core ./core
COPY milepost ./milepost
COPY schedules ./schedules
COPY worker ./worker
RUN pip install --no-cache-dir --disable-pip-version-check . -c constraints.txt
RUN useradd --system --create-home --home-dir /var/lib/milepost milepost
USER milepost
# Not the folder with the sources: the installed packages are the ones to run.
WORKDIR /var/lib/milepost
ENTRYPOINT ["milepost"]
