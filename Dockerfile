# Konnect on slim Debian, as a user of its own. Build: docker build -t konnect .
FROM python:3.13-slim-trixie AS build
WORKDIR /app
RUN python -m venv /app/venv
COPY requirements-run.lock .
RUN /app/venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements-run.lock
COPY pyproject.toml README.md LICENSE ./
COPY protocol protocol
COPY storage storage
COPY konnect_server konnect_server
COPY konnect_client konnect_client
RUN /app/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-trixie
RUN useradd --system --user-group --uid 10001 --home-dir /var/lib/konnect --create-home konnect
COPY --from=build /app/venv /app/venv
ENV PATH=/app/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONMALLOC=malloc \
    KONNECT_HOST=0.0.0.0 KONNECT_PORT=8080 KONNECT_DATA=/var/lib/konnect KONNECT_LOG_FORMAT=json
USER konnect
WORKDIR /var/lib/konnect
VOLUME /var/lib/konnect
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['KONNECT_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["konnect"]
CMD ["serve"]
