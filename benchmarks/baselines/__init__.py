"""What people use today, in its strongest plain form: one readable file for each, none uses qjax."""
