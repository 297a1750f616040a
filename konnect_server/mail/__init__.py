"""Mail: how codes, and word of what was changed, reach the address of an account.

A request makes a job (storage/codes.py); the job makes the code (``postman``), puts it into words (``words``) and gives
the mail to a driver (``driver``): the tray of who tries Konnect, a mail server, or Brevo.
"""
