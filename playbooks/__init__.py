"""Provisioning. Ansible reads the YAML; `console/` and `plugins/` are the Python beside it."""
