"""What operators read while a playbook runs, in words of sites: knows nothing of Ansible's classes."""
