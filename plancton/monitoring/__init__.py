"""What the administrator's own monitoring gets: metrics for Prometheus, and rows for InfluxDB."""
