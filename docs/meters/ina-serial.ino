// Reads an INA219, INA226 or INA3221 and sends numbered samples over the serial line: docs/meters/ina-serial.md, protocol version 1.
// For any Arduino-compatible board with Wire. Choose the sensor, and give each board a serial number of its own.

#include <Wire.h>

#define INA226
const char SERIAL_NUMBER[] = "A1";
const char FIRMWARE[] = "1.0";
const uint8_t ADDRESS = 0x40;
const uint32_t BAUD = 115200;
const uint32_t INTERVAL_US = 10000;  // a line takes 3.3 ms at 115200 baud: longer for three channels

#if defined(INA219)
const char SENSOR[] = "INA219";
const uint8_t CHANNELS = 1;
const uint16_t CONFIGURATION = 0x3DDF;  // 32 V, 320 mV, 8 samples of shunt and of bus, continuous
const uint32_t AVERAGING_US = 8520;
#elif defined(INA226)
const char SENSOR[] = "INA226";
const uint8_t CHANNELS = 1;
const uint16_t CONFIGURATION = 0x4327;  // 4 averages of 1.1 ms shunt and 1.1 ms bus, continuous
const uint32_t AVERAGING_US = 8800;
#elif defined(INA3221)
const char SENSOR[] = "INA3221";
const uint8_t CHANNELS = 3;
const uint16_t CONFIGURATION = 0x7297;  // three channels, 4 averages of 332 us shunt and 332 us bus, continuous
const uint32_t AVERAGING_US = 7968;
#endif

bool running = false;
uint32_t number, due_us;

// Send one line: the body, a star, and the exclusive or of the body's bytes as two hexadecimal digits.
void sendLine(const char *body) {
  uint8_t sum = 0;
  for (const char *at = body; *at; at++) sum ^= (uint8_t)*at;
  char tail[5];
  snprintf(tail, sizeof tail, "*%02X", sum);
  Serial.print(body);
  Serial.print(tail);
  Serial.print('\n');
}

bool writeRegister(uint8_t which, uint16_t value) {
  Wire.beginTransmission(ADDRESS);
  Wire.write(which);
  Wire.write((uint8_t)(value >> 8));
  Wire.write((uint8_t)(value & 0xFF));
  return Wire.endTransmission() == 0;
}

bool readRegister(uint8_t which, uint16_t *value) {
  Wire.beginTransmission(ADDRESS);
  Wire.write(which);
  if (Wire.endTransmission() != 0 || Wire.requestFrom(ADDRESS, (uint8_t)2) != 2) return false;
  uint8_t high = (uint8_t)Wire.read();
  *value = (uint16_t)((high << 8) | (uint8_t)Wire.read());
  return true;
}

void introduce() {
  char body[96];
  snprintf(body, sizeof body, "WFINA,1,%s,%s,%lu,%lu,%s,%s", SENSOR, CHANNELS == 3 ? "123" : "1",
           (unsigned long)INTERVAL_US, (unsigned long)AVERAGING_US, SERIAL_NUMBER, FIRMWARE);
  sendLine(body);
}

// Send one instant. A sensor that does not answer is told, and no value is made up for it.
void sample(uint32_t at_us) {
  for (uint8_t channel = 1; channel <= CHANNELS; channel++) {
    uint16_t shunt, bus;
    if (!readRegister(2 * channel - 1, &shunt) || !readRegister(2 * channel, &bus)) {
      sendLine("E1,the sensor does not answer");
      running = false;
      return;
    }
    char body[64];
    snprintf(body, sizeof body, "W1,%lu,%lu,%u,%04X,%04X", (unsigned long)number, (unsigned long)at_us, channel, shunt, bus);
    sendLine(body);
  }
}

void obey(char command) {
  if (command == '?') introduce();
  if (command == 'X') running = false;
  if (command == 'S') {
    sendLine("K1,S");
    number = 0;
    due_us = micros();
    running = true;
  }
}

void setup() {
  Serial.begin(BAUD);
  Wire.begin();
  Wire.setClock(400000);
  if (!writeRegister(0, CONFIGURATION)) sendLine("E1,no sensor at its address");
}

void loop() {
  while (Serial.available() > 0) obey((char)Serial.read());
  if (!running || (int32_t)(micros() - due_us) < 0) return;
  // An instant that was missed, because the line was full, keeps its number: the host sees that it is lost.
  while ((uint32_t)(micros() - due_us) >= INTERVAL_US) {
    due_us += INTERVAL_US;
    number++;
  }
  sample(micros());
  due_us += INTERVAL_US;
  number++;
}
